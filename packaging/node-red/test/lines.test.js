'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { Lines, MAX_LINE } = require('../lib/lines');

test('lines come out whole, however they were cut', () => {
    const text = 'one\n\ntwo ü\nthree';
    for (let size = 1; size <= text.length; size += 1) {
        const lines = new Lines();
        const found = [];
        for (let at = 0; at < text.length; at += size) {
            found.push(...lines.push(text.slice(at, at + size)));
        }
        assert.deepEqual(found, ['one', '', 'two ü']);
        assert.deepEqual(lines.push('\n'), ['three']);
    }
});

test('a line that never ends is refused before it fills the memory', () => {
    const lines = new Lines();
    lines.push('x'.repeat(MAX_LINE));
    assert.throws(() => lines.push('x'), RangeError);
});
