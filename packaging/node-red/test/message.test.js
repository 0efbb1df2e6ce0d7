'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { fromLine, toLine } = require('../lib/message');

const line = (msg, settings = {}) => JSON.parse(`{${toLine(msg, settings).members}`);
const code = (msg, settings = {}) => {
    try {
        toLine(msg, settings);
    } catch (error) {
        return error.code;
    }
    return undefined;
};

test('payloads become text, bytes or JSON', () => {
    const payload = (value) => {
        const { payload: text, payload_base64: base64 } = line({ topic: 'a', payload: value });
        return base64 === undefined ? text : Buffer.from(base64, 'base64');
    };
    const large = new Uint8Array([1, 2, 3, 4]);
    for (const [value, expected] of [
        ['text', 'text'],
        ['', ''],
        [null, ''],
        [0, '0'],
        [NaN, 'NaN'],
        [-0.5, '-0.5'],
        [10n, '10'],
        [false, 'false'],
        [{ a: [1, null] }, { a: [1, null] }],
        [[1], [1]],
        [Buffer.from([0, 255]), Buffer.from([0, 255])],
        [large.subarray(1, 3), Buffer.from([2, 3])],
        [large.buffer, Buffer.from([1, 2, 3, 4])],
        ['half \ud800', 'half \ufffd'],
        ['\u0001'.repeat(100_000), Buffer.from('\u0001'.repeat(100_000))],
    ]) {
        assert.deepEqual(payload(value), expected);
    }
});

test('the node goes before the message, and nothing is QoS 1', () => {
    const settings = { topic: 't', qos: '0', retain: 'false' };
    assert.deepEqual(line({ topic: 'a', payload: '', qos: 1, retain: true }, settings), { topic: 't', qos: 0, retain: false, payload: '' });
    assert.deepEqual(line({ topic: 'a', payload: '', qos: 2, retain: 'true' }, { topic: '', qos: '', retain: '' }),
        { topic: 'a', qos: 1, retain: true, payload: '' });
    assert.deepEqual(line({ topic: 'a', payload: '', qos: 0 }), { topic: 'a', qos: 0, retain: false, payload: '' });
    for (const [msg, own, urgent] of [[true, '', true], ['true', '', true], ['no', '', undefined], [undefined, 'true', true], [true, 'false', undefined]]) {
        assert.equal(line({ topic: 'a', payload: '', urgent: msg }, { topic: '', qos: '', retain: '', urgent: own }).urgent, urgent);
    }
    assert.equal(line({ topic: 'a', payload: '' }).qos, 1);
});

test('properties are those of the MQTT nodes', () => {
    const msg = {
        topic: 'a', payload: '', contentType: 'text/plain', responseTopic: 'b', correlationData: Buffer.from([1, 2]),
        payloadFormatIndicator: true, userProperties: { k: ['v', 'w'], n: 1, list: [1], nothing: null },
    };
    assert.deepEqual(line(msg).properties, {
        content_type: 'text/plain', response_topic: 'b', correlation_data_base64: 'AQI=', payload_format_indicator: 1,
        user_properties: [['k', 'v'], ['k', 'w'], ['n', '1'], ['list', '[1]']],
    });
    assert.equal(line({ topic: 'a', payload: '', contentType: '', userProperties: {}, correlationData: '' }).properties, undefined);
    assert.equal(line({ topic: 'a', payload: '', correlationData: 'ü' }).properties.correlation_data_base64, 'w7w=');
    const answer = line({ payload: '', responseTopic: 'b' });
    assert.deepEqual([answer.topic, answer.properties], ['b', undefined]);
    assert.equal(toLine({ topic: 'a', payload: '', messageExpiryInterval: '60' }, {}).expiry, 60);
    assert.equal(toLine({ topic: 'a', payload: '', messageExpiryInterval: 1e12 }, {}).expiry, 0xffffffff);
});

test('what cannot be sent is named before it is', () => {
    const circular = {};
    circular.self = circular;
    for (const [msg, expected] of [
        [{ payload: '' }, 'bad_topic'],
        [{ topic: 7, payload: '' }, 'bad_topic'],
        [{ topic: 'a' }, 'bad_message'],
        [{ topic: 'a', payload: circular }, 'bad_message'],
        [{ topic: 'a', payload: { big: 1n } }, 'bad_message'],
        [{ topic: 'a', payload: '', qos: 'x' }, 'bad_qos'],
        [{ topic: 'a', payload: 'x'.repeat(128 * 1024 + 1) }, 'too_large'],
        [{ topic: 'a', payload: 'ü'.repeat(64 * 1024 + 1) }, 'too_large'],
        [{ topic: 'a', payload: Buffer.alloc(128 * 1024 + 1) }, 'too_large'],
        [{ topic: 'a', payload: ['x'.repeat(128 * 1024)] }, 'too_large'],
        [{ topic: 'a'.repeat(300_000), payload: '' }, 'too_large'],
        [{ topic: 'a', payload: '', correlationData: 7 }, 'bad_message'],
        [{ topic: 'a', payload: '', userProperties: ['a'] }, 'bad_message'],
        [{ topic: 'a', payload: '', messageExpiryInterval: -1 }, 'bad_message'],
        [{ topic: 'a', payload: 'x'.repeat(128 * 1024) }, undefined],
        [{ topic: 'a', payload: Buffer.alloc(128 * 1024) }, undefined],
    ]) {
        assert.equal(code(msg), expected, JSON.stringify(Object.keys(msg)));
    }
});

test('lines become what the Output says', () => {
    const payload = (members, output, properties) => fromLine({ id: 1, topic: 'a', ...members, properties }, output).msg.payload;
    const binary = { payload_base64: '/w==' };
    const text = { payload: 'ü' };
    // Text with many control characters comes as Base64, too.
    const coded = { payload_base64: Buffer.from('{"a":1}').toString('base64') };
    assert.deepEqual(payload(binary, 'auto-detect'), Buffer.from([255]));
    assert.equal(payload(text, 'auto-detect'), 'ü');
    assert.deepEqual(payload(coded, 'auto-detect'), { a: 1 });
    assert.deepEqual(payload(coded, 'json'), { a: 1 });
    assert.equal(payload(coded, 'utf8'), '{"a":1}');
    assert.equal(payload(binary, 'utf8'), '\ufffd');
    assert.deepEqual(payload(text, 'buffer'), Buffer.from('ü'));
    assert.equal(payload(binary, 'base64'), '/w==');
    assert.deepEqual(payload(coded, 'auto-detect', { content_type: 'image/PNG' }), Buffer.from('{"a":1}'));
    assert.equal(payload(coded, 'auto-detect', { content_type: 'text/plain' }), '{"a":1}');
    assert.deepEqual(payload(coded, 'auto-detect', { content_type: 'x/y' }), { a: 1 });
    for (const [members, output, properties] of [[text, 'json'], [binary, 'json'], [text, 'auto-detect', { content_type: 'application/json' }]]) {
        const { msg, error } = fromLine({ id: 1, topic: 'a', ...members, properties }, output);
        assert.equal(error.code, 'bad_payload');
        assert.ok(Buffer.isBuffer(msg.payload));
    }
});

test('properties of a line have the names of the MQTT nodes, and no name is special', () => {
    const { msg } = fromLine({
        id: 7, topic: 'a', payload: 'x', qos: 1, retain: false, duplicate: true, received_at: '2026-01-31T12:00:00.123Z',
        properties: {
            content_type: 'c', response_topic: 'r', correlation_data_base64: 'AQI=', payload_format_indicator: 0, expires_in: 60,
            user_properties: [['k', 'v'], ['__proto__', 'p'], ['k', 'w']],
        },
    }, 'auto-detect');
    assert.deepEqual(Object.entries(msg.userProperties), [['k', ['v', 'w']], ['__proto__', 'p']]);
    delete msg.userProperties;
    assert.deepEqual(msg, {
        topic: 'a', payload: 'x', qos: 1, retain: false, contentType: 'c', responseTopic: 'r', messageExpiryInterval: 60,
        correlationData: Buffer.from([1, 2]), payloadFormatIndicator: false,
        gatewire: { id: 7, duplicate: true, receivedAt: '2026-01-31T12:00:00.123Z' },
    });
});
