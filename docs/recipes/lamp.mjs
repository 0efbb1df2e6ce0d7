#!/usr/bin/env node
// Switches a lamp as messages from AWS IoT Core say, `on` or `off`, and publishes what it has become.
//
//   LAMP=/sys/class/leds/ACT/brightness lamp.mjs
//
// It wants nothing but Node.js 18. SOCKETS names another directory than /run/gatewire.

import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

const { LAMP, SOCKETS = '/run/gatewire' } = process.env;

async function connect(name) {
    const socket = createConnection(`${SOCKETS}/${name}`);
    await once(socket, 'connect');
    // What breaks is seen where it is read.
    socket.on('error', () => {});
    return socket.setEncoding('utf8');
}

/** The objects that come, one a line. */
async function* objects(socket) {
    let rest = '';
    for await (const text of socket) {
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        for (const line of lines) yield JSON.parse(line);
    }
}

const send = (socket, value) => socket.write(JSON.stringify(value) + '\n');

/** Does what a message says. */
async function change({ topic, payload }, publish, answers) {
    if (payload !== 'on' && payload !== 'off') {
        console.error(`lamp: neither on nor off: ${payload}`);
        return;
    }
    await writeFile(LAMP, payload === 'on' ? '1' : '0');
    send(publish, { topic: topic.replace(/\/set$/, ''), payload });
    const { done, value: answer } = await answers.next();
    if (done || answer.error === 'shutting_down') throw new Error('gatewire has stopped');
    // Refused, and so it would be again: doing it once more wouldn't help.
    if (answer.error) console.error(`lamp: not published: ${answer.error}: ${answer.detail}`);
}

async function serve() {
    const sockets = [];
    try {
        for (const name of ['lamp.sock', 'publish.sock']) sockets.push(await connect(name));
        const [messages, publish] = sockets;
        const answers = objects(publish);
        for await (const message of objects(messages)) {
            // Such as: it serves no more clients.
            if (message.error) throw new Error(message.detail);
            await change(message, publish, answers);
            // Only now: what isn't acknowledged when this program or gatewire ends comes again.
            send(messages, { ack: message.id });
        }
        throw new Error('gatewire has closed the connection');
    } finally {
        for (const socket of sockets) socket.destroy();
    }
}

for (;;) {
    await serve().catch((error) => console.error(`lamp: ${error.message}; once more in a second`));
    await pause(1000);
}
