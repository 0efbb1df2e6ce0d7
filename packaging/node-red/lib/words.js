'use strict';

// What a person is told: `short` stands under the node, `long` goes to the log with what to do.

const fs = require('node:fs');
const os = require('node:os');

/** Nothing in it that a terminal obeys or that begins another line of a log. */
function printable(text) {
    return String(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character) => {
        const code = character.codePointAt(0).toString(16);
        return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`;
    });
}

/** `1 message`, `2 messages`. */
function count(n, what) {
    return `${n} ${what}${n === 1 ? '' : 's'}`;
}

function userName() {
    try {
        return os.userInfo().username;
    } catch {
        // A container's user need not have a name.
        return String(process.getuid());
    }
}

/** The name of a group; its number where it has none, as in a container. */
function groupName(gid) {
    try {
        const line = fs.readFileSync('/etc/group', 'utf8').split('\n').find((entry) => entry.split(':')[2] === String(gid));
        return line ? line.split(':')[0] : String(gid);
    } catch {
        return String(gid);
    }
}

function lookAt(path) {
    try {
        return fs.statSync(path);
    } catch {
        return undefined;
    }
}

/** Who may use the socket, and how Node-RED becomes one of them. */
function denied(path, { stat = lookAt(path), user = userName(), group = stat && groupName(stat.gid) }) {
    if (!stat) {
        return {
            short: `no permission for the directory of ${path}`,
            long: `the user ${user} may not enter the directory of ${path}; \`namei -l ${path}\` shows who may`,
        };
    }
    if ((stat.mode & 0o020) === 0) {
        return {
            short: `no permission for ${path}`,
            long: `only its owner may use ${path}: set \`mode = "0660"\` for this socket in gatewire's configuration`,
        };
    }
    return {
        short: `no permission: user ${user} isn't in group ${group}`,
        long: `the user ${user} may not use ${path}, but members of the group ${group} may: \`sudo usermod -aG ${group} ${user}\`, `
            + 'then restart Node-RED, as a program gets its groups when it starts (in a container: `--group-add '
            + `${stat.gid}\`)`,
    };
}

/**
 * Why there is no connection to the socket at `path`.
 *
 * @param {string} code of Node.js' error
 * @param {string} path
 * @param {{stat?: fs.Stats, user?: string, group?: string}} [known] what is looked up unless it is given
 * @returns {{short: string, long: string}}
 */
function whyNot(code, path, known = {}) {
    const shown = printable(path);
    switch (code) {
        case 'ENOENT':
            return {
                short: `waiting for gatewire: there is no ${shown}`,
                long: `there is no socket ${shown}: gatewire isn't running (\`systemctl status gatewire\`), its configuration has `
                    + 'another path, or Node-RED is in a container without `/run/gatewire`. It is tried each second',
            };
        case 'ECONNREFUSED': {
            const stat = known.stat ?? lookAt(path);
            if (stat && !stat.isSocket()) {
                return {
                    short: `${shown} isn't a socket`,
                    long: `${shown} isn't a socket: the node must name that of gatewire's configuration`,
                };
            }
            return {
                short: 'waiting for gatewire, which isn\'t running',
                long: `nobody listens at ${shown}: gatewire isn't running; \`systemctl status gatewire\` shows why. It is tried each `
                    + 'second',
            };
        }
        case 'EACCES':
        case 'EPERM': {
            const { short, long } = denied(path, known);
            return { short: printable(short), long: printable(long) };
        }
        case 'EAGAIN':
            return {
                short: 'waiting for gatewire, which doesn\'t answer',
                long: `gatewire takes no more connections at ${shown}: it hangs. \`journalctl -u gatewire\` may show why`,
            };
        case 'EINVAL':
        case 'ENAMETOOLONG':
            return { short: 'the path of the socket is too long', long: `${shown} is longer than the 107 bytes that a socket's path may have` };
        case 'EMFILE':
        case 'ENFILE':
            return { short: 'too many open files', long: 'Node-RED has as many files open as it may (`ulimit -n`)' };
        case 'closed':
            return { short: 'waiting for gatewire: it has closed the connection', long: `gatewire has closed the connection at ${shown}` };
        default:
            return { short: `no connection: ${code}`, long: `no connection to ${shown}: ${code}` };
    }
}

/** A node's socket is that of something else: nothing is tried again until it is deployed anew. */
function wrongSocket(path, wanted, found) {
    const shown = printable(path);
    const isIngest = wanted === '[[ingest]]';
    const one = `${isIngest ? 'an' : 'a'} ${wanted}`;
    return {
        short: `not the socket of ${one}`,
        // An ingest has one format only.
        long: `${shown} isn't the socket of ${one} of gatewire${isIngest ? '' : ' with `format = "json"`'}: ${printable(found)}. Correct `
            + 'the path in the node, or gatewire\'s configuration, and deploy',
    };
}

module.exports = { count, printable, whyNot, wrongSocket };
