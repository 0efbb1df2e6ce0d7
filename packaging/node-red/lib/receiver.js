'use strict';

const { Connection } = require('./connection');
const { fromLine } = require('./message');
const { printable } = require('./words');

/** What the node `gatewire in` does: a reader of a forward, whose messages go on into the flow. */
class Receiver {
    #node;
    #output;
    #connection;
    #isRunning;
    #isClosed = false;
    /** Whether a message has come on this connection. */
    #hasMessages;
    #acknowledges;
    /** Ids of messages that were passed on and are to be acknowledged. */
    #passed = [];
    /** How many connections there have been: an id counts on its own. */
    #connections = 0;
    #isTold = false;

    /**
     * @param {object} node of Node-RED
     * @param {{socket: string, output: string}} settings
     * @param {boolean} isRunning whether the flows run
     */
    constructor(node, { socket, output }, isRunning) {
        this.#node = node;
        this.#output = output;
        this.#isRunning = isRunning;
        node.status({ fill: 'yellow', shape: 'ring', text: 'connecting' });
        this.#connection = new Connection(socket, '[[forward]]', {
            opened: () => this.#open(socket),
            line: (line) => this.#hear(line),
            ended: () => node.status({ fill: 'yellow', shape: 'ring', text: 'connecting' }),
            problem: ({ short, long }) => {
                node.status({ fill: 'red', shape: 'ring', text: short });
                node.warn(long);
            },
        });
        if (!isRunning) {
            this.#connection.pause();
        }
    }

    /** The nodes behind this one may be going: what comes stays with gatewire until all run again. */
    pause() {
        this.#isRunning = false;
        this.#connection.pause();
    }

    resume() {
        this.#isRunning = true;
        this.#connection.resume();
    }

    close() {
        this.#isClosed = true;
        this.#connection.close();
    }

    #open(socket) {
        this.#hasMessages = false;
        this.#acknowledges = true;
        this.#connections += 1;
        // That it is a reader, so that it needn't wait for 250 ms.
        this.#connection.write('{"observe":false}\n');
        this.#node.status({ fill: 'green', shape: 'dot', text: 'connected' });
        this.#node.log(`connected to ${printable(socket)}`);
    }

    #hear(line) {
        if (line.error !== undefined) {
            this.#hearError(line);
        } else if (typeof line.topic === 'string' && (line.payload ?? line.payload_base64) !== undefined) {
            this.#hasMessages = true;
            this.#passOn(line);
        } else {
            this.#connection.giveUp('it gives no messages');
        }
    }

    #hearError({ error, detail }) {
        if (!this.#hasMessages) {
            this.#connection.giveUp(detail);
        } else if (error !== 'bad_line') {
            this.#node.warn(`gatewire: ${error}: ${printable(detail)}`);
        } else if (this.#acknowledges) {
            this.#acknowledges = false;
            if (!this.#isTold) {
                this.#isTold = true;
                this.#node.warn(`messages aren't acknowledged, so that some may be lost when Node-RED ends or is deployed; to have `
                    + `gatewire keep them, add \`ack = "reader"\` to its [[forward]] (${printable(detail)})`);
            }
        }
    }

    #passOn(line) {
        const { msg, error } = fromLine(line, this.#output);
        if (error) {
            // It would be the same if it came again.
            this.#node.error(`${error.message} (topic ${printable(line.topic)})`, msg);
        } else {
            this.#node.send(msg);
        }
        if (this.#passed.push(line.id) === 1) {
            const connection = this.#connections;
            // Node-RED hands each message over in an immediate of its own. The first of these two is among them; by the second the
            // next nodes have had all that were passed on before the first.
            setImmediate(() => {
                const ids = this.#passed;
                this.#passed = [];
                setImmediate(() => this.#acknowledge(ids, connection));
            });
        }
    }

    #acknowledge(ids, connection) {
        if (connection !== this.#connections || this.#isClosed || !this.#connection.isOpen || !this.#acknowledges) {
            return;
        }
        if (!this.#isRunning) {
            // The next nodes were stopped before they had them: they come again on another connection.
            this.#connection.restart();
            return;
        }
        this.#connection.write(ids.map((id) => `{"ack":${id}}\n`).join(''));
    }
}

module.exports = { Receiver };
