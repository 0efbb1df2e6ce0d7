'use strict';

/** The longest line, in characters: gatewire's have about 300,000 at most. */
const MAX_LINE = 1024 * 1024;

/** Cuts what a socket gives, piece by piece, into lines. */
class Lines {
    #pieces = [];
    #length = 0;

    /**
     * The lines that are complete with this text, without their ends.
     *
     * @param {string} text
     * @returns {string[]}
     * @throws {RangeError} if a line is longer than what gatewire writes: this is something else
     */
    push(text) {
        const end = text.lastIndexOf('\n');
        if (end < 0) {
            this.#keep(text);
            return [];
        }
        // Joined once: a long line may come in many pieces.
        this.#pieces.push(text.slice(0, end));
        const lines = this.#pieces.join('').split('\n');
        this.#pieces = [];
        this.#length = 0;
        this.#keep(text.slice(end + 1));
        return lines;
    }

    #keep(text) {
        this.#length += text.length;
        if (this.#length > MAX_LINE) {
            throw new RangeError(`a line of more than ${MAX_LINE} characters`);
        }
        this.#pieces.push(text);
    }
}

module.exports = { Lines, MAX_LINE };
