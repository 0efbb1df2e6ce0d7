'use strict';

const assert = require('node:assert/strict');
const net = require('node:net');
const { test } = require('node:test');

const { Receiver } = require('../lib/receiver');
const { FakeNode, Server } = require('./support');

const message = (id, payload = 'x') => ({ id, topic: 'a', payload, qos: 1, retain: false });

async function connected(t, isRunning = true, output = 'auto-detect') {
    const server = await Server.start(t);
    const node = new FakeNode();
    const receiver = new Receiver(node, { socket: server.path, output }, isRunning);
    t.after(() => receiver.close());
    return { server, node, receiver, client: await greeted(server) };
}

async function greeted(server) {
    const client = await server.clients.next();
    assert.deepEqual(await client.lines.next(), { observe: false });
    return client;
}

test('a message is acknowledged once the next nodes have it', async (t) => {
    const { node, client } = await connected(t);
    const order = [];
    // As Node-RED does it.
    node.send = () => setImmediate(() => order.push('delivered'));
    const { write } = net.Socket.prototype;
    t.mock.method(net.Socket.prototype, 'write', function (text, ...rest) {
        if (text.startsWith('{"ack"')) {
            order.push('acknowledged');
        }
        return write.call(this, text, ...rest);
    });
    client.say(message(1), message(2), message(3));
    for (const ack of [1, 2, 3]) {
        assert.deepEqual(await client.lines.next(), { ack });
    }
    assert.deepEqual(order, ['delivered', 'delivered', 'delivered', 'acknowledged']);
});

test('one that cannot be used is told and acknowledged', async (t) => {
    const { node, client } = await connected(t, true, 'json');
    client.say(message(1, 'no JSON'));
    const { text, msg } = await node.errors.next();
    assert.equal(text, 'the payload isn\'t JSON (topic a)');
    assert.deepEqual(msg.payload, Buffer.from('no JSON'));
    assert.deepEqual(await client.lines.next(), { ack: 1 });
});

test('until the flows run, messages stay where they are', async (t) => {
    const { node, receiver, client } = await connected(t, false);
    client.say(message(1));
    receiver.resume();
    await node.sent.next();
    assert.deepEqual(await client.lines.next(), { ack: 1 });
});

test('what the next nodes may not have got comes again', async (t) => {
    const { server, node, receiver, client } = await connected(t);
    node.send = () => receiver.pause();
    client.say(message(1));
    await client.closed;
    assert.equal(client.lines.length, 0);
    const next = await greeted(server);
    delete node.send;
    receiver.resume();
    next.say(message(1));
    assert.deepEqual(await next.lines.next(), { ack: 1 });
});

test('a forward that wants no acknowledgements gets no more of them, and that is said once', async (t) => {
    const { node, client } = await connected(t);
    client.say(message(1));
    await client.lines.next();
    client.say({ error: 'bad_line', detail: 'ack = "written"' }, { error: 'bad_line', detail: 'ack = "written"' }, message(2));
    await node.logged.until((text) => text.includes('add `ack = "reader"`'));
    await node.sent.next();
    await node.sent.next();
    client.socket.end();
    await client.closed;
    assert.equal(client.lines.length, 0);
    // The next that is told is the end of the connection.
    assert.match(await node.logged.next(), /has closed the connection/);
});

test('what is no forward with JSON is left alone', async (t) => {
    for (const text of ['{"error":"bad_line","detail":"an ingest"}\n', '{"link":{}}\n', '21.5\n', '5:hello,5:hello,\n', 'x'.repeat(2 * 1024 * 1024)]) {
        const { node, client } = await connected(t);
        client.socket.write(text);
        await node.statuses.until((status) => status.text === 'not the socket of a [[forward]]');
        await client.closed;
        assert.equal(node.sent.length, 0);
    }
});
