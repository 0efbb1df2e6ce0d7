'use strict';

// A socket in the place of gatewire's, and a node in the place of Node-RED's.

const { EventEmitter, once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

/** What somebody waits for, in the order in which it comes. */
class Heard {
    #items = [];
    #waiting = [];

    push(item) {
        const waiting = this.#waiting.shift();
        if (waiting) {
            waiting(item);
        } else {
            this.#items.push(item);
        }
    }

    get length() {
        return this.#items.length;
    }

    next() {
        return this.#items.length > 0 ? Promise.resolve(this.#items.shift()) : new Promise((resolve) => this.#waiting.push(resolve));
    }

    /** The first that meets a condition; what came before it is passed over. */
    async until(condition) {
        for (;;) {
            const item = await this.next();
            if (condition(item)) {
                return item;
            }
        }
    }
}

/** A server at a socket of its own; `clients` are the connections, with the `lines` that they send. */
class Server {
    clients = new Heard();
    #server;
    #open = new Set();

    static async start(test) {
        const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'gatewire-'));
        const server = new Server();
        server.path = path.join(directory, 'x.sock');
        await server.listen();
        test.after(() => {
            server.close();
            fs.rmSync(directory, { recursive: true, force: true });
        });
        return server;
    }

    async listen() {
        this.#server = net.createServer({ allowHalfOpen: false }, (socket) => {
            const lines = new Heard();
            let rest = '';
            this.#open.add(socket);
            socket.setEncoding('utf8');
            socket.on('data', (text) => {
                const all = (rest + text).split('\n');
                rest = all.pop();
                all.forEach((line) => lines.push(JSON.parse(line)));
            });
            socket.on('error', () => {});
            socket.on('close', () => this.#open.delete(socket));
            const say = (...objects) => socket.write(objects.map((object) => `${JSON.stringify(object)}\n`).join(''));
            this.clients.push({ lines, say, socket, closed: new Promise((resolve) => socket.on('close', resolve)) });
        });
        this.#server.listen(this.path);
        await once(this.#server, 'listening');
    }

    close() {
        this.#open.forEach((socket) => socket.destroy());
        this.#server.close();
    }
}

/** What a node of Node-RED has that ours use. */
class FakeNode extends EventEmitter {
    statuses = new Heard();
    logged = new Heard();
    sent = new Heard();
    errors = new Heard();

    status(status) {
        this.statuses.push(status);
    }

    log(text) {
        this.logged.push(text);
    }

    warn(text) {
        this.logged.push(text);
    }

    error(text, msg) {
        this.errors.push({ text, msg });
    }

    send(msg) {
        this.sent.push(msg);
    }

    /** As Node-RED gives a message to a node; what the node makes of it. */
    receive(msg) {
        this.done ??= new Heard();
        this.emit('input', msg, (sent) => this.send(sent), (error) => this.done.push({ msg, error }));
    }
}

module.exports = { FakeNode, Server };
