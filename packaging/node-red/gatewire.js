'use strict';

// The nodes `gatewire in` and `gatewire out` as Node-RED sees them. What they do is in lib/receiver.js and lib/sender.js.

const os = require('node:os');
const path = require('node:path');

const { Kept } = require('./lib/kept');
const { Receiver } = require('./lib/receiver');
const { Sender } = require('./lib/sender');
const { count, printable } = require('./lib/words');

module.exports = (RED) => {
    // Where Node-RED is part of another program it may have no directory.
    const directory = path.join(RED.settings.userDir ?? os.tmpdir(), 'gatewire');
    const receivers = new Set();
    /** By the id of the node. */
    const senders = new Map();
    /** What had no answer when a node was closed, by its id: for the node that a deploy puts in its place. */
    const left = new Map();
    let isRunning = false;

    // One listener each for all nodes; a node that comes and goes leaves none behind.
    RED.events.on('flows:stopping', () => {
        isRunning = false;
        receivers.forEach((receiver) => receiver.pause());
    });
    RED.events.on('flows:started', () => {
        isRunning = true;
        receivers.forEach((receiver) => receiver.resume());
        // Its node was disabled, or went away while it was closed.
        for (const [id, { kept, items }] of left) {
            drop(id, kept, items, 'its node isn\'t there any more');
        }
        left.clear();
    });
    // Node-RED ends, by a signal or by an error: this is the last that runs.
    process.once('exit', () => {
        for (const [id, { kept, sender }] of senders) {
            left.set(id, { kept, items: sender.unanswered });
        }
        for (const [id, { kept, items }] of left) {
            attempt(id, `${count(items.length, 'message')} without an answer of gatewire may be lost`, () => kept.add(items));
        }
    });

    function attempt(id, otherwise, act) {
        try {
            return act();
        } catch (error) {
            RED.log.error(`[gatewire out:${id}] ${otherwise}: ${printable(error.message)}`);
            return undefined;
        }
    }

    function drop(id, kept, items, why) {
        if (items.length > 0) {
            RED.log.warn(`[gatewire out:${id}] ${count(items.length, 'message')} without an answer of gatewire dropped: ${why}`);
        }
        attempt(id, 'their file stays', () => kept.forget());
    }

    /** What a node of this id has left: in the last deploy, or before Node-RED was started. */
    function take(id) {
        const before = left.get(id);
        left.delete(id);
        if (before) {
            return before;
        }
        const kept = new Kept(directory, id);
        const { items, damaged } = attempt(id, 'what waited when Node-RED ended can\'t be read', () => kept.restore())
            ?? { items: [], damaged: 0 };
        if (damaged > 0) {
            RED.log.warn(`[gatewire out:${id}] ${count(damaged, 'message')} that waited when Node-RED ended can't be read`);
        }
        return { kept, items };
    }

    RED.nodes.registerType('gatewire in', function GatewireIn(config) {
        RED.nodes.createNode(this, config);
        const settings = {
            socket: config.socket || '/run/gatewire/messages.sock',
            output: config.datatype || 'auto-detect',
        };
        const receiver = new Receiver(this, settings, isRunning);
        receivers.add(receiver);
        this.on('close', () => {
            receivers.delete(receiver);
            receiver.close();
        });
    });

    RED.nodes.registerType('gatewire out', function GatewireOut(config) {
        RED.nodes.createNode(this, config);
        const settings = {
            socket: config.socket || '/run/gatewire/publish.sock',
            topic: config.topic,
            qos: String(config.qos ?? ''),
            retain: String(config.retain ?? ''),
            urgent: String(config.urgent ?? ''),
        };
        const { kept, items: before } = take(this.id);
        const sender = new Sender(this, settings, kept, before);
        senders.set(this.id, { kept, sender });
        this.on('close', (removed, done) => {
            sender.close().then((items) => {
                senders.delete(this.id);
                if (removed) {
                    drop(this.id, kept, items, 'the node was deleted');
                } else {
                    left.set(this.id, { kept, items });
                }
                done();
            });
        });
    });
};
