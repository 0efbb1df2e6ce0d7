'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { MAX_BYTES, MAX_MESSAGES, Queue, WINDOW, weigh } = require('../lib/queue');

const item = (id, payload = '') => ({ id, msg: { payload }, members: `"topic":"a","payload":${JSON.stringify(payload)}}` });
const ids = (items) => items.map(({ id }) => id);

function filled(n) {
    const queue = new Queue();
    for (let id = 1; id <= n; id += 1) {
        assert.ok(queue.add(item(id)));
    }
    return queue;
}

test('no more than gatewire reads is sent before it answers', () => {
    const queue = filled(WINDOW + 2);
    assert.equal(queue.toSend().length, WINDOW);
    assert.deepEqual(queue.toSend(), []);
    assert.equal(queue.answered(1).id, 1);
    assert.deepEqual(ids(queue.toSend()), [WINDOW + 1]);
    assert.equal(queue.length, WINDOW + 1);
});

test('answers belong to the lines in their order, with an id or without', () => {
    const queue = filled(3);
    queue.toSend();
    assert.equal(queue.answered(2), undefined);
    assert.equal(queue.answered(undefined).id, 1);
    assert.equal(queue.answered(2).id, 2);
    assert.equal(queue.answered(3).id, 3);
    assert.equal(queue.answered(undefined), undefined);
    assert.equal(queue.length, 0);
});

test('after a disconnect, and later, messages are sent again in their order', () => {
    const queue = filled(4);
    queue.toSend();
    queue.keep(queue.answered(1));
    queue.keep(queue.answered(2));
    assert.equal(queue.oldest.id, 1);
    queue.retry();
    assert.deepEqual(ids(queue.toSend()), [1, 2]);
    assert.equal(queue.answered(3).id, 3);
    queue.keep(queue.answered(4));
    queue.add(item(5));
    assert.deepEqual(ids(queue.items()), [1, 2, 4, 5]);
    queue.disconnected();
    assert.deepEqual(ids(queue.toSend()), [1, 2, 4, 5]);
    queue.withdraw(queue.items()[1]);
    assert.deepEqual(ids(queue.items()), [1, 4, 5]);
});

test('messages and memory are bounded, and room comes back', () => {
    const many = filled(MAX_MESSAGES);
    assert.equal(many.add(item(0)), false);
    const queue = new Queue();
    const large = 'x'.repeat(128 * 1024);
    let n = 0;
    while (queue.add(item(n + 1, large))) {
        n += 1;
    }
    assert.ok(n * 4 * large.length <= MAX_BYTES && n > 30, String(n));
    for (const { id } of queue.toSend()) {
        queue.answered(id);
    }
    let again = 0;
    while (queue.add(item(again + 1, large))) {
        again += 1;
    }
    assert.equal(again, n);
});

test('a message weighs what it holds, and is weighed quickly', () => {
    const large = Buffer.alloc(10 * 1024 * 1024);
    assert.ok(weigh({ payload: large.subarray(0, 1) }) > large.length);
    assert.ok(weigh({ payload: '', more: { deep: ['x'.repeat(1000)] } }) > 2000);
    assert.ok(weigh({ req: { body: large }, payload: '' }) < 2000);
    const circular = { list: new Array(100_000).fill({}) };
    circular.self = circular;
    assert.ok(weigh(circular) > 100_000);
    assert.ok(weigh({ payload: Buffer.from('small') }) < 2000);
});
