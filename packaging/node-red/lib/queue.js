'use strict';

/** How many lines may be without an answer: gatewire reads no more from one client (docs/sockets.md). */
const WINDOW = 1000;

/** What may wait, for gatewire to come back for one. */
const MAX_MESSAGES = 10_000;

/** In bytes of memory: lines and messages. */
const MAX_BYTES = 32 * 1024 * 1024;

/** What a message takes beside what it holds, about. */
const OVERHEAD = 512;

/** A Buffer that is this much of a larger one keeps all of that in memory. */
const POOL = 64 * 1024;

/** So many values of a message are weighed; there are messages that hold half of Node-RED. */
const MAX_VALUES = 1000;

/**
 * About how much memory a value keeps, in bytes. `req` and `res` of HTTP aren't the message's own.
 *
 * @param {unknown} root
 * @returns {number}
 */
function weigh(root) {
    const todo = [root];
    const seen = new Set();
    let bytes = OVERHEAD;
    while (todo.length > 0 && seen.size < MAX_VALUES) {
        const value = todo.pop();
        bytes += 16;
        if (typeof value === 'string') {
            bytes += 2 * value.length;
        } else if (ArrayBuffer.isView(value)) {
            bytes += value.buffer.byteLength > POOL ? value.buffer.byteLength : value.byteLength;
        } else if (value instanceof ArrayBuffer) {
            bytes += value.byteLength;
        } else if (typeof value === 'object' && value !== null && !seen.has(value)) {
            seen.add(value);
            for (const key of Object.keys(value)) {
                if (key !== 'req' && key !== 'res') {
                    todo.push(key, value[key]);
                }
            }
        }
    }
    return bytes;
}

/**
 * The messages that have no answer yet, in their order. It does nothing by itself: the node sends what `toSend` gives and tells
 * what it hears. An item has what the node puts into it, and `id`, `members` (the line, see `toLine`) and `bytes`.
 */
class Queue {
    #waiting = [];
    #sent = [];
    /** Answered, but to be sent again. */
    #again = [];
    #bytes = 0;

    get length() {
        return this.#waiting.length + this.#sent.length + this.#again.length;
    }

    /** The one that has waited longest, of those that wait at all. */
    get oldest() {
        return this.#again[0] ?? this.#sent[0] ?? this.#waiting[0];
    }

    /** Whether there was room for it. */
    add(item) {
        const bytes = weigh(item.msg) + 2 * item.members.length;
        if (this.length >= MAX_MESSAGES || (this.length > 0 && this.#bytes + bytes > MAX_BYTES)) {
            return false;
        }
        this.#bytes += bytes;
        this.#waiting.push(Object.assign(item, { bytes }));
        return true;
    }

    /** What is to be sent now; it has no answer from then on. */
    toSend() {
        const items = this.#waiting.splice(0, Math.max(0, WINDOW - this.#sent.length));
        this.#sent.push(...items);
        return items;
    }

    /** Takes an item out that was given by `toSend` last, and isn't sent. */
    withdraw(item) {
        this.#sent.splice(this.#sent.lastIndexOf(item), 1);
        this.#forget(item);
    }

    /**
     * The item that an answer is for: answers come in the order of the lines, and one for a line that can't be understood has
     * no id.
     *
     * @returns {object | undefined} undefined if there is none: the other end doesn't do what gatewire does
     */
    answered(id) {
        const [item] = this.#sent;
        if (item === undefined || (id !== undefined && id !== item.id)) {
            return undefined;
        }
        this.#sent.shift();
        this.#forget(item);
        return item;
    }

    /** Keeps an item that was answered, to be sent again later. */
    keep(item) {
        this.#bytes += item.bytes;
        this.#again.push(item);
    }

    /** What was answered "later" is sent again. */
    retry() {
        this.#restore(this.#again);
        this.#again = [];
    }

    /** The connection has ended: what has no answer may not have been read. */
    disconnected() {
        this.#restore([...this.#again, ...this.#sent]);
        this.#again = [];
        this.#sent = [];
    }

    /** All of them, in their order. */
    items() {
        return [...this.#again, ...this.#sent, ...this.#waiting].sort((a, b) => a.id - b.id);
    }

    #restore(items) {
        this.#waiting = [...items, ...this.#waiting].sort((a, b) => a.id - b.id);
    }

    #forget(item) {
        this.#bytes -= item.bytes;
    }
}

module.exports = { MAX_BYTES, MAX_MESSAGES, Queue, WINDOW, weigh };
