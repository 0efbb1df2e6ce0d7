'use strict';

// While gatewire is away, what a node is to publish is also in a file, for Node-RED may be ended or killed meanwhile.

const fs = require('node:fs');
const path = require('node:path');
const { performance } = require('node:perf_hooks');

/** So many lines may be in the file; then it is written anew with those that still have no answer. */
const MAX_LINES = 20_000;

function lineOf({ msg, members, expiresAt }) {
    const left = expiresAt === undefined ? undefined : (expiresAt - performance.now()) / 1000;
    return `${JSON.stringify({ _msgid: msg._msgid, members, left, at: Date.now() })}\n`;
}

function itemOf(line) {
    const { _msgid, members, left, at } = JSON.parse(line);
    const { topic, payload, payload_base64: base64, qos, retain } = JSON.parse(`{${members}`);
    // A clock that was set back makes nothing valid for longer.
    const away = Math.max(0, Date.now() - at);
    return {
        msg: { _msgid, topic, payload: base64 === undefined ? payload : Buffer.from(base64, 'base64'), qos, retain },
        members,
        expiresAt: left === undefined ? undefined : performance.now() + 1000 * left - away,
        isKept: true,
    };
}

/** The file of a node: a line for each message, and none at all once all of them have their answers. It isn't synced. */
class Kept {
    #file;
    #lines = 0;
    /** Those of the file that have no answer. */
    #unanswered = new Set();

    /**
     * @param {string} directory is made when there is something to keep
     * @param {string} id of the node
     */
    constructor(directory, id) {
        this.#file = path.join(directory, `${encodeURIComponent(id)}.jsonl`);
    }

    /**
     * What is in the file, as items for a `Sender`.
     *
     * @returns {{items: object[], damaged: number}} and how many lines can't be read
     */
    restore() {
        let text = '';
        try {
            text = fs.readFileSync(this.#file, 'utf8');
        } catch (error) {
            if (error.code !== 'ENOENT') {
                throw error;
            }
        }
        const items = [];
        let damaged = 0;
        for (const line of text.split('\n').filter((one) => one !== '')) {
            try {
                items.push(itemOf(line));
            } catch {
                // Killed, or without room, in the middle of it.
                damaged += 1;
            }
        }
        this.#unanswered = new Set(items);
        if (damaged > 0) {
            this.#write();
        } else {
            this.#lines = items.length;
        }
        return { items, damaged };
    }

    /** Adds those items that it doesn't have. */
    add(items) {
        const added = items.filter((item) => !item.isKept);
        if (added.length === 0) {
            return;
        }
        fs.mkdirSync(path.dirname(this.#file), { recursive: true, mode: 0o700 });
        fs.appendFileSync(this.#file, added.map(lineOf).join(''), { mode: 0o600 });
        this.#lines += added.length;
        for (const item of added) {
            item.isKept = true;
            this.#unanswered.add(item);
        }
        if (this.#lines > MAX_LINES) {
            this.#write();
        }
    }

    /** An item has its answer. */
    answered(item) {
        if (this.#unanswered.delete(item) && this.#unanswered.size === 0) {
            this.forget();
        }
    }

    /** Removes the file: nobody is left to send what is in it. */
    forget() {
        this.#unanswered.clear();
        this.#lines = 0;
        fs.rmSync(this.#file, { force: true });
    }

    #write() {
        const items = [...this.#unanswered];
        fs.writeFileSync(`${this.#file}.new`, items.map(lineOf).join(''), { mode: 0o600 });
        fs.renameSync(`${this.#file}.new`, this.#file);
        this.#lines = items.length;
    }
}

module.exports = { Kept, MAX_LINES };
