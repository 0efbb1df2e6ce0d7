'use strict';

const assert = require('node:assert/strict');
const os = require('node:os');
const { test } = require('node:test');

const { printable, whyNot } = require('../lib/words');

const PATH = '/run/gatewire/publish.sock';

test('text of others makes no line of its own and moves no cursor', () => {
    assert.equal(printable('a\nb\u001b[2J\u009b1m\u202e\u2028\ud800\u{e0001}ü'), 'a\\u000ab\\u001b[2J\\u009b1m\\u202e\\u2028\\ud800\\u{e0001}ü');
});

test('who lacks the right is told the group, and what to do', () => {
    const stat = { mode: 0o140660, gid: 997, isSocket: () => true };
    const { short, long } = whyNot('EACCES', PATH, { stat, user: 'nodered', group: 'gatewire-publish' });
    assert.equal(short, 'no permission: user nodered isn\'t in group gatewire-publish');
    assert.match(long, /`sudo usermod -aG gatewire-publish nodered`, then restart Node-RED/);
    assert.match(long, /`--group-add 997`/);
    assert.match(whyNot('EACCES', PATH, { stat: { ...stat, mode: 0o140600 }, user: 'u' }).long, /`mode = "0660"`/);
    // A group that has no name, as in a container.
    assert.match(whyNot('EACCES', PATH, { stat: { ...stat, gid: 4_000_000 }, user: 'u' }).short, /group 4000000/);
});

test('each failure says what it is', () => {
    assert.match(whyNot('ENOENT', PATH).short, /^waiting for gatewire: there is no \/run/);
    assert.match(whyNot('ECONNREFUSED', PATH, { stat: { isSocket: () => true } }).short, /isn't running/);
    assert.match(whyNot('ECONNREFUSED', os.tmpdir()).short, /isn't a socket/);
    assert.match(whyNot('EAGAIN', PATH).short, /doesn't answer/);
    assert.match(whyNot('EINVAL', PATH).short, /too long/);
    assert.match(whyNot('EMFILE', PATH).long, /ulimit -n/);
    assert.match(whyNot('EWHATEVER', 'a\nb').long, /a\\u000ab: EWHATEVER/);
});
