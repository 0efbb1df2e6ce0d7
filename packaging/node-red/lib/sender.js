'use strict';

const { performance } = require('node:perf_hooks');

const { Connection } = require('./connection');
const { BadMessage, toLine } = require('./message');
const { MAX_BYTES, MAX_MESSAGES, Queue } = require('./queue');
const { count, printable } = require('./words');

/** When gatewire says "later", in milliseconds. */
const LATER = 10_000;

/** How long messages wait before the status says so, in milliseconds: most have their answer by then. */
const SLOW = 2000;

/** How long gatewire may take for its first word, in milliseconds. The socket of a forward never says one. */
const SILENCE = 3000;

/** How long a node that is closed waits for answers, in milliseconds: gatewire stores what isn't delivered in 1 s. */
const FAREWELL = 3000;

/** Errors that are no fault of the message. */
const TEMPORARY = new Set(['shutting_down', 'no_identity']);

/** What a Catch node gets. */
function failure(code, detail) {
    const error = new Error(`${code}: ${printable(detail)}`);
    error.name = 'gatewire';
    error.code = code;
    // Where in this file it was made says nothing.
    delete error.stack;
    return error;
}

let nextId = 1;

/** What the node `gatewire out` does: it publishes, and keeps each message until gatewire has answered. */
class Sender {
    #node;
    #settings;
    #connection;
    #queue = new Queue();
    /** Messages that were accepted by a node before this one, with their lines. */
    #accepted = new WeakMap();
    #kept;
    #isKeeping = true;
    /** Whether gatewire has answered, and this is an ingest socket. */
    #isReady = false;
    #problem;
    #trouble;
    #shown;
    #timers = {};
    #whenEmpty;

    /**
     * @param {object} node of Node-RED
     * @param {{socket: string, topic: string, qos: string, retain: string, urgent: string}} settings
     * @param {Kept} kept where messages are while gatewire is away
     * @param {object[]} items what `close` of the node before it gave, or what is in `kept`
     */
    constructor(node, settings, kept, items) {
        this.#node = node;
        this.#settings = settings;
        this.#kept = kept;
        node.on('input', (msg, send, done) => this.#publish(msg, done));
        this.#connection = new Connection(settings.socket, '[[ingest]]', {
            opened: () => this.#greet(),
            line: (line) => this.#hear(line),
            ended: () => this.#disconnected(),
            problem: (words) => {
                this.#problem = words.short;
                node.warn(words.long);
                this.#keep(this.unanswered);
                this.#show();
            },
        });
        for (const item of items) {
            this.#accepted.set(item.msg, item);
            // As a message of the flow, so that Complete and Catch nodes hear of it.
            node.receive(item.msg);
        }
        this.#show();
    }

    /** What has no answer. */
    get unanswered() {
        return this.#queue.items();
    }

    /** Waits a moment for answers, and ends. What has none by then is for the node that comes after it. */
    async close() {
        if (this.#isReady && this.#queue.length > 0) {
            await new Promise((resolve) => {
                this.#whenEmpty = resolve;
                this.#timers.farewell = setTimeout(resolve, FAREWELL);
            });
        }
        Object.values(this.#timers).forEach(clearTimeout);
        this.#connection.close();
        return this.unanswered;
    }

    #publish(msg, done) {
        let item = this.#accepted.get(msg);
        // Once: a flow may send it again, with something else in it.
        this.#accepted.delete(msg);
        try {
            if (!item) {
                const { members, expiry } = toLine(msg, this.#settings);
                item = { msg, members, expiresAt: expiry === undefined ? undefined : performance.now() + 1000 * expiry };
            }
        } catch (error) {
            if (!(error instanceof BadMessage)) {
                throw error;
            }
            this.#settle({ msg, done }, { error: error.code, detail: error.message });
            return;
        }
        // In the order in which they came.
        Object.assign(item, { id: nextId, done, since: performance.now() });
        nextId += 1;
        if (!this.#queue.add(item)) {
            const detail = `${count(this.#queue.length, 'message')} wait for gatewire (${this.#problem ?? 'it hasn\'t answered yet'}); at `
                + `most ${MAX_MESSAGES} or ${MAX_BYTES / 1024 / 1024} MiB may`;
            this.#settle(item, { error: 'queue_full', detail });
            return;
        }
        if (this.#problem !== undefined) {
            this.#keep([item]);
        }
        this.#send();
        this.#watch();
    }

    /** Writes down what waits: gatewire isn't there to do it. */
    #keep(items) {
        try {
            this.#kept.add(items);
            this.#isKeeping = true;
        } catch (error) {
            if (this.#isKeeping) {
                this.#isKeeping = false;
                this.#node.warn(`what waits for gatewire can't be written down, and is lost if Node-RED ends: ${printable(error.message)}`);
            }
        }
    }

    #send() {
        if (!this.#isReady) {
            return;
        }
        const now = performance.now();
        let text = '';
        for (const item of this.#queue.toSend()) {
            const left = item.expiresAt === undefined ? undefined : Math.ceil((item.expiresAt - now) / 1000);
            if (left !== undefined && left <= 0) {
                this.#queue.withdraw(item);
                this.#settle(item, { error: 'expired', detail: 'its messageExpiryInterval has passed' });
            } else {
                text += `{"id":${item.id},${left === undefined ? '' : `"expires_in":"${left}s",`}${item.members}\n`;
            }
        }
        if (text !== '') {
            this.#connection.write(text);
        }
    }

    /** Asks which socket this is. A client that says nothing is a reader at that of a forward, and takes its messages. */
    #greet() {
        this.#connection.write('{"observe":true}\n');
        this.#timers.silence = setTimeout(() => {
            this.#problem = 'no answer: is it the socket of a [[forward]]?';
            this.#node.warn(`${printable(this.#settings.socket)} doesn't answer: it is the socket of a [[forward]], and the node must name `
                + 'that of an [[ingest]]; or gatewire hangs (`gatewire status`)');
            this.#show();
        }, SILENCE);
    }

    #disconnected() {
        this.#isReady = false;
        this.#problem = undefined;
        this.#trouble = undefined;
        clearTimeout(this.#timers.silence);
        this.#queue.disconnected();
        this.#whenEmpty?.();
        this.#show();
    }

    #hear(line) {
        // The status socket answers the question, too, and says what it is.
        const isStatus = !this.#isReady && String(line.detail).includes('this is the status socket');
        if (isStatus || (line.result === undefined && line.error === undefined)) {
            this.#connection.giveUp('it gives messages or a status');
        } else if (!this.#isReady) {
            this.#hearGreeting();
        } else {
            this.#hearAnswer(line);
        }
    }

    /** An ingest socket knows no `observe`. */
    #hearGreeting() {
        clearTimeout(this.#timers.silence);
        this.#isReady = true;
        this.#problem = undefined;
        this.#node.log(`connected to ${printable(this.#settings.socket)}`);
        this.#send();
        this.#show();
    }

    #hearAnswer({ id, ...answer }) {
        const item = this.#queue.answered(id);
        if (!item) {
            this.#node.warn(`gatewire: ${printable(answer.error ?? answer.result)}: ${printable(answer.detail ?? 'an answer to nothing')}`);
            return;
        }
        // One without id is to a line that it hasn't read to its end, as others needed the memory.
        if (TEMPORARY.has(answer.error) || (answer.error !== undefined && id === undefined)) {
            this.#queue.keep(item);
            this.#trouble = printable(`${answer.error}: ${answer.detail}`);
            this.#timers.later ??= setTimeout(() => this.#retry(), LATER);
        } else {
            this.#trouble = undefined;
            this.#settle(item, answer);
        }
        this.#send();
        if (this.#queue.length === 0) {
            this.#whenEmpty?.();
        }
    }

    #retry() {
        this.#timers.later = undefined;
        this.#queue.retry();
        this.#send();
    }

    /** The message has its answer: Complete nodes hear of it, or Catch nodes, and both have it in msg.gatewire. */
    #settle(item, answer) {
        try {
            this.#kept.answered(item);
        } catch (error) {
            this.#node.warn(printable(error.message));
        }
        item.msg.gatewire = answer;
        item.done(answer.error === undefined ? undefined : failure(answer.error, answer.detail));
    }

    /** Shows soon what waits: not at each message. */
    #watch() {
        this.#timers.show ??= setTimeout(() => {
            this.#timers.show = undefined;
            this.#show();
            if (this.#queue.length > 0) {
                this.#watch();
            }
        }, SLOW / 2);
    }

    #show() {
        const waits = this.#queue.length > 0 && performance.now() - this.#queue.oldest.since >= SLOW;
        const waiting = waits || (!this.#isReady && this.#queue.length > 0) ? `, ${count(this.#queue.length, 'message')} waiting` : '';
        const status = this.#isReady && this.#trouble === undefined
            ? { fill: 'green', shape: 'dot', text: `connected${waiting}` }
            : { fill: this.#problem || this.#trouble ? 'red' : 'yellow', shape: 'ring', text: (this.#problem ?? this.#trouble ?? 'connecting') + waiting };
        if (status.text !== this.#shown) {
            this.#shown = status.text;
            this.#node.status(status);
        }
    }
}

module.exports = { Sender };
