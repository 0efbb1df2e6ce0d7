'use strict';

// Between Node-RED's messages, whose properties have the names of its own MQTT nodes, and the lines of gatewire's sockets
// (docs/sockets.md).

/** What IoT Core takes, in bytes. */
const MAX_PAYLOAD = 128 * 1024;

/** What gatewire takes, in bytes; some is left for the id. */
const MAX_LINE = 256 * 1024 - 256;

/** MQTT has 32 bits for it. */
const MAX_EXPIRY = 0xffffffff;

/** What the MQTT nodes of Node-RED make of a content type; all others are looked at. */
const MEDIA_TYPES = new Map([
    ...['text/css', 'text/html', 'text/plain', 'application/xml'].map((type) => [type, 'utf8']),
    ...['application/octet-stream', 'application/pdf', 'application/x-gtar', 'application/x-gzip', 'application/x-tar',
        'application/zip', 'audio/aac', 'audio/ac3', 'audio/basic', 'audio/mp4', 'audio/ogg', 'image/bmp', 'image/gif',
        'image/jpeg', 'image/tiff', 'image/png'].map((type) => [type, 'buffer']),
    ['application/json', 'json'],
]);

/** A message that can't be passed on, with a code like those of gatewire's answers. */
class BadMessage extends Error {
    constructor(code, detail) {
        super(detail);
        this.code = code;
    }
}

/** The text of bytes that are UTF-8; what they hold isn't changed. */
function textOf(bytes) {
    try {
        return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
        return undefined;
    }
}

function parsed(text) {
    try {
        return { value: JSON.parse(text) };
    } catch {
        return undefined;
    }
}

/** The payload of a line as the node's Output says. */
function payloadOf({ payload, payload_base64: base64 }, output, contentType) {
    const bytes = () => base64 === undefined ? Buffer.from(payload) : Buffer.from(base64, 'base64');
    // Not all of what comes as Base64 is binary: texts with many control characters do, too.
    const text = () => base64 === undefined ? payload : textOf(bytes());
    const json = () => {
        const found = text() === undefined ? undefined : parsed(text());
        if (found === undefined) {
            throw new BadMessage('bad_payload', 'the payload isn\'t JSON');
        }
        return found.value;
    };
    switch (output) {
        case 'buffer':
            return bytes();
        case 'utf8':
            return text() ?? bytes().toString();
        case 'base64':
            return bytes().toString('base64');
        case 'json':
            return json();
        default: {
            const known = MEDIA_TYPES.get(String(contentType ?? '').toLowerCase());
            if (known !== undefined) {
                return payloadOf({ payload, payload_base64: base64 }, known);
            }
            const found = text();
            if (found === undefined) {
                return bytes();
            }
            const value = parsed(found);
            return value === undefined ? found : value.value;
        }
    }
}

/** An object of pairs; a name that comes several times has a list. */
function objectOf(pairs) {
    const values = new Map();
    for (const [name, value] of pairs) {
        values.set(name, [...(values.get(name) ?? []), value]);
    }
    // Unlike an assignment, this takes `__proto__` for a name like any other.
    return Object.fromEntries([...values].map(([name, list]) => [name, list.length === 1 ? list[0] : list]));
}

/**
 * The message that a line of a forward's socket holds.
 *
 * @param {object} line
 * @param {string} output `auto-detect`, `buffer`, `utf8`, `json` or `base64`, as in the node `mqtt in`
 * @returns {{msg: object, error?: BadMessage}} with an error if the payload isn't what the output says; it is bytes then
 */
function fromLine(line, output) {
    const { id, topic, qos, retain, duplicate, received_at: receivedAt, properties = {} } = line;
    const msg = { topic, payload: undefined, qos, retain };
    const set = (name, value) => {
        if (value !== undefined) {
            msg[name] = value;
        }
    };
    set('contentType', properties.content_type);
    set('responseTopic', properties.response_topic);
    set('messageExpiryInterval', properties.expires_in);
    if (properties.correlation_data_base64 !== undefined) {
        msg.correlationData = Buffer.from(properties.correlation_data_base64, 'base64');
    }
    if (properties.payload_format_indicator !== undefined) {
        msg.payloadFormatIndicator = properties.payload_format_indicator === 1;
    }
    if (properties.user_properties !== undefined) {
        msg.userProperties = objectOf(properties.user_properties);
    }
    msg.gatewire = { id, duplicate, receivedAt };
    try {
        msg.payload = payloadOf(line, output, msg.contentType);
        return { msg };
    } catch (error) {
        msg.payload = payloadOf(line, 'buffer');
        return { msg, error };
    }
}

/** As Buffer.from does it: half of a surrogate pair is no character, and gatewire refuses it. */
function wellFormed(text) {
    return /\p{Surrogate}/u.test(text) ? Buffer.from(text).toString() : text;
}

/** The bytes of a Buffer, or of what else JavaScript has for bytes. */
function bytesOf(value) {
    if (value instanceof ArrayBuffer) {
        return Buffer.from(value);
    }
    return ArrayBuffer.isView(value) ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : undefined;
}

/** `payload` or `payload_base64` of a line: text as it is, bytes as bytes, all else as JSON. */
function payloadMembers(payload) {
    const tooLarge = (size) => {
        if (size > MAX_PAYLOAD) {
            throw new BadMessage('too_large', `msg.payload has ${size} bytes, IoT Core takes at most ${MAX_PAYLOAD}`);
        }
    };
    const bytes = bytesOf(payload);
    if (bytes) {
        tooLarge(bytes.length);
        return { payload_base64: bytes.toString('base64') };
    }
    if (typeof payload === 'object' && payload !== null) {
        const json = JSON.stringify(payload);
        if (json === undefined) {
            throw new BadMessage('bad_message', 'msg.payload has no form as JSON');
        }
        tooLarge(Buffer.byteLength(json));
        return { payload };
    }
    // Numbers and booleans are texts by then: JSON has no NaN.
    const text = wellFormed(String(payload ?? ''));
    tooLarge(Buffer.byteLength(text));
    // Its control characters would take six bytes each.
    const escaped = JSON.stringify(text);
    return Buffer.byteLength(escaped) > MAX_LINE / 2 ? { payload_base64: Buffer.from(text).toString('base64') } : { payload: text };
}

function qosOf(qos) {
    if (qos === undefined || qos === null || qos === '') {
        return 1;
    }
    const number = Number(qos);
    if (![0, 1, 2].includes(number)) {
        throw new BadMessage('bad_qos', 'msg.qos must be 0 or 1');
    }
    // IoT Core has no QoS 2.
    return Math.min(number, 1);
}

/** Pairs of `msg.userProperties`; lists are several of a name, and what isn't text is JSON, as in the node `mqtt out`. */
function pairsOf(userProperties) {
    if (userProperties === undefined || userProperties === null) {
        return [];
    }
    if (typeof userProperties !== 'object' || Array.isArray(userProperties)) {
        throw new BadMessage('bad_message', 'msg.userProperties must be an object');
    }
    const text = (value) => typeof value === 'string' ? value : JSON.stringify(value);
    return Object.entries(userProperties).flatMap(([name, value]) => {
        const values = Array.isArray(value) && value.every((one) => typeof one === 'string') ? value : [value];
        return values.filter((one) => one !== undefined && one !== null).map((one) => [wellFormed(name), wellFormed(text(one))]);
    });
}

function textProperty(msg, name) {
    const value = msg[name];
    if (value === undefined || value === null || value === '') {
        return undefined;
    }
    if (typeof value !== 'string') {
        throw new BadMessage('bad_message', `msg.${name} must be text`);
    }
    return wellFormed(value);
}

function propertiesOf(msg) {
    const properties = {
        content_type: textProperty(msg, 'contentType'),
        response_topic: textProperty(msg, 'responseTopic'),
    };
    const correlation = msg.correlationData;
    if (correlation !== undefined && correlation !== null && correlation !== '') {
        const bytes = typeof correlation === 'string' ? Buffer.from(correlation) : bytesOf(correlation);
        if (!bytes) {
            throw new BadMessage('bad_message', 'msg.correlationData must be a Buffer or text');
        }
        properties.correlation_data_base64 = bytes.toString('base64');
    }
    const indicator = msg.payloadFormatIndicator;
    if (indicator !== undefined && indicator !== null) {
        properties.payload_format_indicator = [true, 'true', 1].includes(indicator) ? 1 : 0;
    }
    const pairs = pairsOf(msg.userProperties);
    if (pairs.length > 0) {
        properties.user_properties = pairs;
    }
    return Object.values(properties).some((value) => value !== undefined) ? properties : undefined;
}

/** Seconds. */
function expiryOf(interval) {
    if (interval === undefined || interval === null || interval === '') {
        return undefined;
    }
    const seconds = Math.floor(Number(interval));
    if (!(seconds >= 0)) {
        throw new BadMessage('bad_message', 'msg.messageExpiryInterval must be a number of seconds');
    }
    return Math.min(seconds, MAX_EXPIRY);
}

/**
 * The line for an ingest socket that publishes a message, but for `id` and `expires_in`, which are known when it is sent.
 *
 * @param {object} msg
 * @param {{topic?: string, qos?: string, retain?: string, urgent?: string}} settings of the node; they go before what the message says
 * @returns {{members: string, expiry?: number}} members of a JSON object without its first brace, and in how many seconds the
 *     message expires
 * @throws {BadMessage}
 */
function toLine(msg, settings) {
    // As the node `mqtt out` does it, for answers to requests.
    const isAnswer = !settings.topic && !msg.topic && msg.responseTopic;
    const topic = settings.topic || msg.topic || msg.responseTopic;
    if (typeof topic !== 'string' || topic === '') {
        throw new BadMessage('bad_topic', 'neither the node nor msg.topic has a topic');
    }
    if (msg.payload === undefined) {
        throw new BadMessage('bad_message', 'msg.payload is missing');
    }
    const isTrue = (value) => [true, 'true', 1].includes(value);
    let members;
    try {
        members = JSON.stringify({
            topic: wellFormed(topic),
            qos: qosOf(settings.qos || msg.qos),
            retain: isTrue(settings.retain || msg.retain),
            // Left out it means the same, also to a gatewire that doesn't know it.
            urgent: isTrue(settings.urgent || msg.urgent) || undefined,
            properties: propertiesOf(isAnswer ? { ...msg, responseTopic: undefined } : msg),
            ...payloadMembers(msg.payload),
        }).slice(1);
    } catch (error) {
        // Such as an object that holds itself.
        throw error instanceof BadMessage ? error : new BadMessage('bad_message', `msg.payload: ${error.message}`);
    }
    if (Buffer.byteLength(members) > MAX_LINE) {
        throw new BadMessage('too_large', 'the topic, the payload and the properties are too large together');
    }
    return { members, expiry: expiryOf(msg.messageExpiryInterval) };
}

module.exports = { BadMessage, fromLine, toLine };
