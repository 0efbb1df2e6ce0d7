'use strict';

// The nodes `gatewire in` and `gatewire out` as Node-RED sees them. What they do is in lib/receiver.js and lib/sender.js.

const os = require('node:os');
const path = require('node:path');

const kept = require('./lib/kept');
const { Receiver } = require('./lib/receiver');
const { Sender } = require('./lib/sender');
const { count } = require('./lib/words');

module.exports = (RED) => {
    // Where Node-RED is part of another program it may have no directory.
    const directory = path.join(RED.settings.userDir ?? os.tmpdir(), 'gatewire');
    const receivers = new Set();
    /** By the id of the node. */
    const senders = new Map();
    /** What had no answer when a node was closed, by its id: for the node that a deploy puts in its place. */
    const unanswered = new Map();
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
        for (const [id, items] of unanswered) {
            drop(id, items, 'its node isn\'t there any more');
        }
        unanswered.clear();
    });
    // Node-RED ends, by a signal or by an error: this is the last that runs.
    process.once('exit', () => {
        for (const [id, sender] of senders) {
            unanswered.set(id, sender.unanswered);
        }
        for (const [id, items] of unanswered) {
            keep(id, items);
        }
    });

    function drop(id, items, why) {
        if (items.length > 0) {
            RED.log.warn(`[gatewire out:${id}] ${count(items.length, 'message')} without an answer of gatewire dropped: ${why}`);
        }
        forget(id);
    }

    function keep(id, items) {
        if (items.length === 0) {
            return;
        }
        try {
            kept.save(directory, id, items);
        } catch (error) {
            RED.log.error(`[gatewire out:${id}] ${count(items.length, 'message')} without an answer of gatewire lost: ${error.message}`);
        }
    }

    function forget(id) {
        try {
            kept.forget(directory, id);
        } catch (error) {
            RED.log.warn(`[gatewire out:${id}] ${error.message}`);
        }
    }

    /** What a node of this id has left: in the last deploy, or before Node-RED was started. */
    function left(id) {
        const items = unanswered.get(id);
        unanswered.delete(id);
        if (items) {
            return items;
        }
        try {
            return kept.restore(directory, id);
        } catch (error) {
            RED.log.error(`[gatewire out:${id}] what was kept when Node-RED ended can't be read: ${error.message}`);
            return [];
        }
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
        };
        const sender = new Sender(this, settings, left(this.id), () => forget(this.id));
        senders.set(this.id, sender);
        this.on('close', (removed, done) => {
            sender.close().then((items) => {
                senders.delete(this.id);
                if (removed) {
                    drop(this.id, items, 'the node was deleted');
                } else {
                    unanswered.set(this.id, items);
                }
                done();
            });
        });
    });
};
