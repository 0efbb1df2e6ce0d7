'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');

const kept = require('../lib/kept');

test('what is kept comes back as it was, and goes', (t) => {
    const directory = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'gatewire-')), 'gatewire');
    t.after(() => fs.rmSync(path.dirname(directory), { recursive: true }));
    assert.deepEqual(kept.restore(directory, 'x/y'), []);
    kept.save(directory, 'x/y', [
        { msg: { _msgid: '1' }, members: '"topic":"a","qos":1,"retain":false,"payload":{"a":1}}' },
        { msg: { _msgid: '2' }, members: '"topic":"b","qos":0,"retain":true,"payload_base64":"/w=="}', expiresAt: performance.now() + 60_000 },
    ]);
    const [file] = fs.readdirSync(directory);
    assert.equal(fs.statSync(path.join(directory, file)).mode & 0o777, 0o600);
    const [one, two] = kept.restore(directory, 'x/y');
    assert.deepEqual(one.msg, { _msgid: '1', topic: 'a', payload: { a: 1 }, qos: 1, retain: false });
    assert.ok(one.isRestored && one.expiresAt === undefined);
    assert.deepEqual(two.msg, { _msgid: '2', topic: 'b', payload: Buffer.from([255]), qos: 0, retain: true });
    const left = two.expiresAt - performance.now();
    assert.ok(left > 0 && left <= 60_000, String(left));
    kept.forget(directory, 'x/y');
    kept.forget(directory, 'x/y');
    assert.deepEqual(fs.readdirSync(directory), []);
    fs.writeFileSync(path.join(directory, 'z.json'), 'cut off {');
    assert.throws(() => kept.restore(directory, 'z'));
});
