'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { Kept } = require('../lib/kept');
const { Sender } = require('../lib/sender');
const { FakeNode, Server } = require('./support');

const GREETING = { error: 'bad_line', detail: 'unknown key `observe`' };

async function connected(t, settings = {}) {
    const server = await Server.start(t);
    const node = new FakeNode();
    const sender = new Sender(node, { socket: server.path, topic: '', qos: '', retain: '', ...settings }, keptAt(server), []);
    t.after(() => sender.close());
    return { server, node, sender, client: await greeted(server) };
}

const keptAt = (server) => new Kept(path.join(path.dirname(server.path), 'kept'), 'node');

async function greeted(server) {
    const client = await server.clients.next();
    assert.deepEqual(await client.lines.next(), { observe: true });
    client.say(GREETING);
    return client;
}

test('a message is done when its answer has come', async (t) => {
    const { node, client } = await connected(t);
    await node.statuses.until(({ text }) => text === 'connected');
    node.receive({ topic: 'a', payload: 'one' });
    node.receive({ topic: 'b', payload: 'two' });
    const [one, two] = [await client.lines.next(), await client.lines.next()];
    assert.equal(one.topic + two.topic, 'ab');
    client.say({ id: one.id, result: 'stored' }, { id: two.id, error: 'topic_not_allowed', detail: 'not\nhere' });
    const done = await node.done.next();
    assert.deepEqual([done.msg.gatewire, done.error], [{ result: 'stored' }, undefined]);
    const failed = await node.done.next();
    assert.equal(failed.error.code, 'topic_not_allowed');
    assert.equal(String(failed.error), 'gatewire: topic_not_allowed: not\\u000ahere');
    assert.deepEqual(failed.msg.gatewire, { error: 'topic_not_allowed', detail: 'not\nhere' });
});

test('a socket that says nothing is told, and that it may be a forward\'s', async (t) => {
    const server = await Server.start(t);
    const node = new FakeNode();
    const sender = new Sender(node, { socket: server.path, topic: '', qos: '', retain: '', urgent: '' }, keptAt(server), []);
    t.after(() => sender.close());
    const client = await server.clients.next();
    const { fill, text } = await node.statuses.until((status) => status.text !== 'connecting');
    assert.deepEqual([fill, text], ['red', 'no answer: is it the socket of a [[forward]]?']);
    client.say(GREETING);
    await node.statuses.until((status) => status.text === 'connected');
});

test('what has no answer is sent again, and what gatewire is too busy or too young for', async (t) => {
    const { server, node, client } = await connected(t);
    for (const payload of ['0', '1', '2', '3']) {
        node.receive({ topic: 'a', payload });
    }
    const lines = [];
    while (lines.length < 4) {
        lines.push(await client.lines.next());
    }
    client.say({ id: lines[0].id, error: 'no_identity', detail: 'd' }, { error: 'bad_line', detail: 'the line isn\'t complete' },
        { id: lines[2].id, error: 'shutting_down', detail: 'd' });
    await node.statuses.until(({ text }) => text.startsWith('shutting_down: d') || text === 'connected');
    client.socket.end();
    const next = await greeted(server);
    for (const line of lines) {
        assert.deepEqual(await next.lines.next(), line);
        next.say({ id: line.id, result: 'delivered' });
        assert.equal((await node.done.next()).error, undefined);
    }
});

test('an expiry counts while the message waits', async (t) => {
    const server = await Server.start(t);
    const node = new FakeNode();
    const items = [
        { msg: { topic: 'a', payload: '' }, members: '"topic":"a","payload":""}', expiresAt: performance.now() + 1500 },
        { msg: { topic: 'b', payload: '' }, members: '"topic":"b","payload":""}', expiresAt: performance.now() - 1 },
        { msg: { topic: 'c', payload: '' }, members: '"topic":"c","payload":""}' },
    ];
    const sender = new Sender(node, { socket: server.path }, keptAt(server), items);
    t.after(() => sender.close());
    const client = await greeted(server);
    const first = await client.lines.next();
    assert.equal(first.topic, 'a');
    assert.match(first.expires_in, /^[12]s$/);
    const last = await client.lines.next();
    assert.deepEqual([last.topic, last.expires_in], ['c', undefined]);
    assert.equal((await node.done.next()).error.code, 'expired');
    client.say({ id: first.id, result: 'delivered' });
    // The same message, with something else in it: what it was is past.
    const { msg } = await node.done.next();
    node.receive(Object.assign(msg, { payload: 'other' }));
    assert.equal((await client.lines.next()).payload, 'other');
});

test('closing waits for answers that come, and gives back what has none', async (t) => {
    const { node, sender, client } = await connected(t);
    node.receive({ topic: 'a', payload: '1' });
    const line = await client.lines.next();
    const closing = sender.close();
    client.say({ id: line.id, result: 'delivered' });
    assert.deepEqual(await closing, []);
    await client.closed;
    const other = await connected(t);
    other.node.receive({ topic: 'a', payload: '2' });
    await other.client.lines.next();
    const ended = other.sender.close();
    other.client.socket.destroy();
    assert.deepEqual((await ended).map(({ msg }) => msg.payload), ['2']);
});

test('nothing is sent to what is no ingest socket', async (t) => {
    const server = await Server.start(t);
    const node = new FakeNode();
    const sender = new Sender(node, { socket: server.path }, keptAt(server), []);
    t.after(() => sender.close());
    node.receive({ topic: 'a', payload: 'mine' });
    const client = await server.clients.next();
    client.say({ id: 1, topic: 'x', payload: 'yours' });
    await node.statuses.until(({ text }) => text === 'not the socket of an [[ingest]], 1 message waiting');
    await client.closed;
    assert.deepEqual(await client.lines.next(), { observe: true });
    assert.equal(client.lines.length, 0);
    assert.equal(sender.unanswered.length, 1);
});

test('a gatewire without room is asked again later, and that is said', async (t) => {
    const server = await Server.start(t);
    const node = new FakeNode();
    const sender = new Sender(node, { socket: server.path }, keptAt(server), []);
    t.after(() => sender.close());
    const client = await server.clients.next();
    client.say({ error: 'too_many_clients', detail: '256 clients' });
    client.socket.end();
    await node.statuses.until(({ text }) => text === 'waiting for gatewire: it has too many clients');
    await node.logged.until((text) => text === 'gatewire serves no more clients: 256 clients');
});

test('while gatewire is away, messages are in a file, and until all of them have an answer', async (t) => {
    const { server, node, client } = await connected(t);
    const directory = path.join(path.dirname(server.path), 'kept');
    node.receive({ topic: 'a', payload: '1' });
    await client.lines.next();
    assert.ok(!fs.existsSync(directory));
    client.socket.end();
    await node.logged.until((text) => text.includes('has closed the connection'));
    node.receive({ topic: 'a', payload: '2' });
    assert.deepEqual(keptAt(server).restore().items.map(({ msg }) => msg.payload), ['1', '2']);
    const next = await greeted(server);
    const lines = [await next.lines.next(), await next.lines.next()];
    next.say({ id: lines[0].id, result: 'delivered' });
    await node.done.next();
    assert.equal(fs.readdirSync(directory).length, 1);
    next.say({ id: lines[1].id, result: 'delivered' });
    await node.done.next();
    assert.deepEqual(fs.readdirSync(directory), []);
});

test('a file that cannot be written is told once, and stops nothing', async (t) => {
    const { server, node, client } = await connected(t);
    fs.writeFileSync(path.join(path.dirname(server.path), 'kept'), 'no directory');
    client.socket.end();
    await node.logged.until((text) => text.includes('has closed the connection'));
    node.receive({ topic: 'a', payload: '1' });
    node.receive({ topic: 'a', payload: '2' });
    await node.logged.until((text) => text.startsWith('what waits for gatewire can\'t be written down'));
    assert.equal(node.logged.length, 0);
    const next = await greeted(server);
    assert.equal((await next.lines.next()).payload + (await next.lines.next()).payload, '12');
});
