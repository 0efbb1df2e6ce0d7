// Runs the function nodes of a Node-RED flow as Node-RED does: setup, function and cleanup in one context, with `node`,
// `context`, `msg` and the modules that they ask for.
//
//   flow.mjs FLOW SOCKETS
//
// A line of standard input is a message from the inject nodes; what reaches a debug node is printed, its name in front. At
// the end of standard input the nodes are closed.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import vm from 'node:vm';

const [, , flow, sockets] = process.argv;
const nodes = JSON.parse(readFileSync(flow, 'utf8').replaceAll('/run/gatewire', sockets));
const require = createRequire(import.meta.url);
const inputs = new Map();

for (const { id, type, z, wires = [] } of nodes) {
    if (type !== 'tab' && !nodes.some((tab) => tab.type === 'tab' && tab.id === z)) throw new Error(`${id} has no tab`);
    for (const target of wires.flat()) {
        if (!nodes.some((node) => node.id === target)) throw new Error(`${id} leads to ${target}, which isn't there`);
    }
}

const pass = ({ wires }, message) => wires.flat().forEach((target) => inputs.get(target)(message));

const functions = nodes.filter(({ type }) => type === 'function').map((definition) => {
    const values = new Map();
    const node = {
        send: (message) => pass(definition, message),
        status: ({ text }) => console.log(`status ${JSON.stringify(text)}`),
        warn: (text) => console.log(`warning ${JSON.stringify(text)}`),
    };
    const context = { set: (key, value) => values.set(key, value), get: (key) => values.get(key) };
    const modules = definition.libs.map((lib) => [lib.var, require(lib.module)]);
    const sandbox = vm.createContext({ node, context, setTimeout, ...Object.fromEntries(modules) });
    const run = (code, wrapper) => vm.runInContext(`(${wrapper} { ${code} \n})`, sandbox);
    const handle = run(definition.func, 'async function (msg)');
    inputs.set(definition.id, async (message) => {
        const result = await handle(message);
        if (result) pass(definition, result);
    });
    return { start: run(definition.initialize, 'async function ()'), stop: run(definition.finalize, 'function ()') };
});
for (const { id, name } of nodes.filter(({ type }) => type === 'debug')) {
    inputs.set(id, (message) => console.log(`${name} ${JSON.stringify(message)}`));
}

for (const { start } of functions) await start();
for await (const line of createInterface({ input: process.stdin })) {
    for (const node of nodes.filter(({ type }) => type === 'inject')) pass(node, JSON.parse(line));
}
functions.forEach(({ stop }) => stop());
