'use strict';

const net = require('node:net');

const { Lines } = require('./lines');
const { printable, whyNot, wrongSocket } = require('./words');

/** Between two attempts to connect, in milliseconds: the socket is on this machine. */
const RETRY = 1000;

/** Likewise, where gatewire has said that it has no room. */
const RETRY_WHEN_FULL = 60_000;

/** How long a connection that is closed may take to pass on its last bytes, in milliseconds. */
const LINGER = 1000;

/**
 * A connection to one of gatewire's sockets that is made again whenever it ends.
 *
 * `handlers` are `opened()`, `line(object)` for each line, `ended()` when an open connection has ended, and
 * `problem({short, long})` when the reason why there is no connection has changed.
 */
class Connection {
    #path;
    #wanted;
    #handlers;
    #socket;
    #retry;
    #reason;
    #isOpen = false;
    #isPaused = false;
    #isClosed = false;

    /**
     * @param {string} path
     * @param {string} wanted the table of the configuration whose socket it must be
     * @param {object} handlers
     */
    constructor(path, wanted, handlers) {
        this.#path = path;
        this.#wanted = wanted;
        this.#handlers = handlers;
        this.#connect();
    }

    get isOpen() {
        return this.#isOpen;
    }

    /** Sends lines, which have their ends. */
    write(text) {
        this.#socket.write(text);
    }

    /** Reads nothing for a while: what comes stays with gatewire. */
    pause() {
        this.#isPaused = true;
        if (this.#isOpen) {
            this.#socket.pause();
        }
    }

    resume() {
        this.#isPaused = false;
        if (this.#isOpen) {
            this.#socket.resume();
        }
    }

    /** Ends this connection, after which a new one is made. */
    restart() {
        this.#socket?.destroy();
    }

    /** Says why no connection is of use, and makes none any more. */
    giveUp(found) {
        if (this.#isOpen) {
            this.#handlers.ended();
        }
        this.#handlers.problem(wrongSocket(this.#path, this.#wanted, found));
        this.close();
    }

    /** Ends it for good; nothing more is read. */
    close() {
        this.#isClosed = true;
        this.#isOpen = false;
        clearTimeout(this.#retry);
        const socket = this.#socket;
        if (socket && !socket.destroyed) {
            // What was written is passed on first. Then it is closed both ways: a reader that has only nothing more to say would
            // still be given messages.
            const timer = setTimeout(() => socket.destroy(), LINGER);
            socket.on('close', () => clearTimeout(timer));
            socket.removeAllListeners('data');
            socket.end(() => socket.destroy());
        }
    }

    #connect() {
        const socket = net.createConnection(this.#path);
        const lines = new Lines();
        let reason = 'closed';
        this.#socket = socket.setEncoding('utf8');
        socket.on('connect', () => {
            if (this.#isClosed) {
                return;
            }
            this.#isOpen = true;
            this.#reason = undefined;
            this.#handlers.opened();
            if (this.#isPaused) {
                socket.pause();
            }
        });
        socket.on('data', (text) => this.#read(lines, text));
        socket.on('error', (error) => {
            reason = error.code ?? error.message;
        });
        socket.on('close', () => this.#end(reason));
    }

    #read(lines, text) {
        let complete;
        try {
            complete = lines.push(text);
        } catch (error) {
            this.giveUp(error.message);
            return;
        }
        for (const line of complete) {
            if (this.#isClosed) {
                return;
            }
            let object;
            try {
                object = JSON.parse(line);
            } catch {
                // Told below.
            }
            if (object === null || typeof object !== 'object' || Array.isArray(object)) {
                this.giveUp('it doesn\'t give JSON objects');
                return;
            }
            if (object.error === 'too_many_clients') {
                const long = `gatewire serves no more clients: ${printable(object.detail)}`;
                this.#fail('too_many_clients', { short: 'waiting for gatewire: it has too many clients', long });
                return;
            }
            this.#handlers.line(object);
        }
    }

    #end(reason) {
        const wasOpen = this.#isOpen;
        this.#isOpen = false;
        if (this.#isClosed) {
            return;
        }
        if (wasOpen) {
            this.#handlers.ended();
        }
        // The last line may have said more than the end of the connection does.
        if (reason !== 'closed' || this.#reason === undefined) {
            this.#fail(reason, whyNot(reason, this.#path));
        }
        this.#retry = setTimeout(() => this.#connect(), this.#reason === 'too_many_clients' ? RETRY_WHEN_FULL : RETRY);
    }

    #fail(reason, words) {
        if (reason !== this.#reason) {
            this.#reason = reason;
            this.#handlers.problem(words);
        }
    }
}

module.exports = { Connection };
