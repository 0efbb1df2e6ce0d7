'use strict';

// What has no answer when Node-RED ends is in files until it runs again: gatewire can keep only what it has been given.

const fs = require('node:fs');
const path = require('node:path');
const { performance } = require('node:perf_hooks');

/** The file for a node. */
function fileOf(directory, id) {
    return path.join(directory, `${encodeURIComponent(id)}.json`);
}

/**
 * Writes the messages of a node that have no answer, synced: it is the last thing that the process does.
 *
 * @param {string} directory is made
 * @param {string} id of the node
 * @param {object[]} items of a `Queue`
 */
function save(directory, id, items) {
    const now = performance.now();
    const messages = items.map(({ msg, members, expiresAt }) => ({
        _msgid: msg._msgid, members, left: expiresAt === undefined ? undefined : (expiresAt - now) / 1000,
    }));
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    const file = fileOf(directory, id);
    const descriptor = fs.openSync(`${file}.new`, 'w', 0o600);
    fs.writeFileSync(descriptor, JSON.stringify({ savedAt: Date.now(), messages }));
    fs.fsyncSync(descriptor);
    fs.closeSync(descriptor);
    fs.renameSync(`${file}.new`, file);
}

/**
 * What `save` has written, as items for a `Sender`.
 *
 * @returns {object[]} empty if there is no file
 * @throws if there is one that can't be read
 */
function restore(directory, id) {
    let text;
    try {
        text = fs.readFileSync(fileOf(directory, id), 'utf8');
    } catch (error) {
        if (error.code === 'ENOENT') {
            return [];
        }
        throw error;
    }
    const { savedAt, messages } = JSON.parse(text);
    // A clock that was set back makes nothing valid for longer.
    const away = Math.max(0, Date.now() - savedAt);
    return messages.map(({ _msgid, members, left }) => {
        const { topic, payload, payload_base64: base64, qos, retain } = JSON.parse(`{${members}`);
        return {
            msg: { _msgid, topic, payload: base64 === undefined ? payload : Buffer.from(base64, 'base64'), qos, retain },
            members,
            expiresAt: left === undefined ? undefined : performance.now() + 1000 * left - away,
            isRestored: true,
        };
    });
}

/** Removes the file: all of it is answered, or nobody is left to send it. */
function forget(directory, id) {
    fs.rmSync(fileOf(directory, id), { force: true });
}

module.exports = { forget, restore, save };
