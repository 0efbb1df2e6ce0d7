'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');

const { Kept, MAX_LINES } = require('../lib/kept');

function directory(t) {
    const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'gatewire-'));
    t.after(() => fs.rmSync(parent, { recursive: true }));
    return path.join(parent, 'gatewire');
}

const item = (n) => ({ msg: { _msgid: String(n) }, members: `"topic":"a","qos":1,"retain":false,"payload":{"n":${n}}}` });

test('what is kept comes back as it was, and goes', (t) => {
    const place = directory(t);
    const kept = new Kept(place, 'x/y');
    assert.deepEqual(kept.restore(), { items: [], damaged: 0 });
    kept.add([
        item(1),
        { msg: { _msgid: '2' }, members: '"topic":"b","qos":0,"retain":true,"payload_base64":"/w=="}', expiresAt: performance.now() + 60_000 },
    ]);
    const [file] = fs.readdirSync(place);
    assert.equal(fs.statSync(path.join(place, file)).mode & 0o777, 0o600);
    const again = new Kept(place, 'x/y');
    const { items: [one, two], damaged } = again.restore();
    assert.equal(damaged, 0);
    assert.deepEqual(one.msg, { _msgid: '1', topic: 'a', payload: { n: 1 }, qos: 1, retain: false });
    assert.equal(one.expiresAt, undefined);
    assert.deepEqual(two.msg, { _msgid: '2', topic: 'b', payload: Buffer.from([255]), qos: 0, retain: true });
    const left = two.expiresAt - performance.now();
    assert.ok(left > 0 && left <= 60_000, String(left));
    again.add([one, two]);
    again.answered(one);
    assert.equal(new Kept(place, 'x/y').restore().items.length, 2);
    again.answered(two);
    assert.deepEqual(fs.readdirSync(place), []);
    again.forget();
});

test('a line that was cut off costs no other', (t) => {
    const place = directory(t);
    new Kept(place, 'z').add([item(1), item(2)]);
    const [file] = fs.readdirSync(place);
    fs.appendFileSync(path.join(place, file), '{"_msgid":"3","mem');
    const kept = new Kept(place, 'z');
    const { items, damaged } = kept.restore();
    assert.deepEqual([items.length, damaged], [2, 1]);
    // What comes next isn't added to it.
    kept.add([item(4)]);
    assert.deepEqual(new Kept(place, 'z').restore().items.map(({ msg }) => msg.payload.n), [1, 2, 4]);
});

test('the file does not grow for ever', (t) => {
    const place = directory(t);
    const kept = new Kept(place, 'z');
    const first = item(0);
    kept.add([first]);
    for (let round = 0; round < 5; round += 1) {
        const items = Array.from({ length: MAX_LINES / 2 }, (_, n) => item(n));
        kept.add(items);
        items.forEach((one) => kept.answered(one));
    }
    assert.ok(new Kept(place, 'z').restore().items.length <= MAX_LINES);
    kept.answered(first);
    assert.deepEqual(fs.readdirSync(place), []);
});
