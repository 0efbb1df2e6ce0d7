"""Actions that root runs, through gatewire-action.socket."""

import json
import os
import pathlib
import signal

from machine import (WORK, actions_of_root, cursor, drop_in, eventually, is_connected, owner, prop, remove_drop_in, replaced, run,
                     runs, systemctl, write)

SOCKET = pathlib.Path("/run/gatewire-action.sock")

ACTIONS = f"""
[[action]]
name = "who"
run = ["/usr/bin/id", "-un"]
as = "root"

[[action]]
name = "restart"
args = "sleeper|gatewire"
run = ["/usr/bin/systemctl", "restart", "--", "{{{{args}}}}"]
as = "root"

[[action]]
name = "restart-gatewire"
run = ["/usr/bin/systemctl", "restart", "gatewire"]
as = "root"
done = "after-restart"

[[action]]
name = "leave"
run = ["/bin/sh", "-c", "sleep 1000 > /dev/null 2>&1 & echo $!"]
as = "root"

[[action]]
name = "hang"
run = ["/bin/sh", "-c", "setsid sleep 1234 & sleep 1234"]
as = "root"

[[action]]
name = "reinstall"
run = ["/usr/bin/apt-get", "install", "-y", "--reinstall", "--no-install-recommends", "{WORK}/gatewire.deb"]
as = "root"
timeout = "2m"
done = "after-restart"

[[action]]
name = "sandboxed"
run = ["/usr/bin/id", "-un"]
"""

CLIENT = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect("/run/gatewire-action.sock")
connection.sendall(sys.argv[1].encode() + b"\\n")
print(connection.makefile().read())
"""

# What gatewire-action@.service says of actions that are `systemctl restart` alone.
SANDBOX = """
ProtectSystem=strict, ProtectHome=yes, PrivateTmp=yes, PrivateDevices=yes, PrivateNetwork=yes, ProtectProc=invisible,
ProtectKernelTunables=yes, ProtectKernelModules=yes, ProtectKernelLogs=yes, ProtectControlGroups=yes, ProtectClock=yes,
ProtectHostname=yes, NoNewPrivileges=yes, RestrictSUIDSGID=yes, RestrictRealtime=yes, RestrictNamespaces=yes,
MemoryDenyWriteExecute=yes, RestrictAddressFamilies=AF_UNIX, SystemCallFilter=@system-service, CapabilityBoundingSet=CAP_KILL
"""


def ask(action, *arguments, user="gatewire", execution="job:1", check=True):
    """What root answers to a user."""
    request = json.dumps({"action": action, "arguments": arguments, "execution": execution})
    said = run("runuser", "-u", user, "--", "python3", "-c", CLIENT, request, check=check)
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")] if check else said


def not_before_root_says_so():
    """root runs no action before gatewire-action.socket is enabled; then gatewire alone can ask, for what is listed alone"""
    write("/etc/gatewire/conf.d/actions.toml", ACTIONS)
    assert systemctl("is-enabled", "gatewire-action.socket", check=False).strip() == "disabled" and not SOCKET.exists()
    systemctl("enable", "--now", "gatewire-action.socket")
    assert owner(SOCKET) == "0600 gatewire"
    mark = cursor()
    assert ask("who") == [{"started": True}, {"exit_code": 0, "stdout": "root\n"}]
    assert "PermissionError" in ask("who", user="member", check=False)
    assert "has no action of this name" in ask("sh")[0]["error"]
    assert "as = \"root\"" in ask("sandboxed")[0]["error"]
    assert "doesn't match" in ask("restart", "ssh")[0]["error"]
    # By root's own process, which says whose words these are.
    written = actions_of_root(f"--after-cursor={mark}")
    assert [record["GATEWIRE_EVENT"] for record in written] == ["root_action"] * 2 + ["root_action_refused"] * 3, written
    assert all(record["_UID"] == "0" and record["SYSLOG_IDENTIFIER"] == "gatewire" for record in written), written
    os.chown("/etc/gatewire/conf.d/actions.toml", 1000, -1)
    assert "belongs to" in ask("who")[0]["error"]
    os.chown("/etc/gatewire/conf.d/actions.toml", 0, -1)
    eventually("no helper is left", lambda: "gatewire-action@" not in systemctl("list-units", "--all", "--plain", "gatewire-action@*"))
    assert systemctl("--failed", "--quiet") == ""


def what_an_action_leaves():
    """what an action starts on purpose stays when its helper ends; what is left of one whose daemon is gone doesn't"""
    process = int(ask("leave")[1]["stdout"])
    eventually("no helper is left", lambda: "gatewire-action@" not in systemctl("list-units", "--plain", "gatewire-action@*"))
    os.kill(process, 0)
    os.kill(process, signal.SIGKILL)
    request = json.dumps({"action": "hang", "execution": "job:2"})
    run("runuser", "-u", "gatewire", "--", "timeout", "2", "python3", "-c", CLIENT, request, fails=True)
    eventually("it is ended", lambda: not runs("sleep 1234"))


def restarts():
    """an action restarts a service, and one restarts gatewire itself and outlives it"""
    write("/etc/systemd/system/sleeper.service", "[Service]\nExecStart=/bin/sleep 1000000\n")
    systemctl("daemon-reload")
    systemctl("start", "sleeper")
    process = prop("MainPID", "sleeper.service")
    assert ask("restart", "sleeper")[-1]["exit_code"] == 0
    assert prop("MainPID", "sleeper.service") not in ("0", process)
    process = int(prop("MainPID"))
    assert ask("restart-gatewire")[-1] == {"exit_code": 0}
    replaced(process)
    is_connected()


def sandbox():
    """for `systemctl` alone the helper's unit can have the sandbox that it says"""
    unit = pathlib.Path("/usr/lib/systemd/system/gatewire-action@.service").read_text()
    assert "".join(SANDBOX.split()) in "".join(unit.replace("\n#", "\n").split()), "the unit says something else"
    drop_in("sandbox", "[Service]\n" + SANDBOX.replace(", ", "\n").replace(",\n", "\n"), "gatewire-action@.service")
    assert ask("restart", "sleeper")[-1] == {"exit_code": 0}
    remove_drop_in("sandbox", "gatewire-action@.service")
    is_connected()


def reinstall():
    """an action installs gatewire, which restarts it, and is there to its end"""
    process = int(prop("MainPID"))
    answers = ask("reinstall")
    assert answers[0] == {"started": True} and answers[-1]["exit_code"] == 0, answers
    replaced(process)
    is_connected()
    assert ask("who")[-1]["stdout"] == "root\n", "the socket is there again"
    os.unlink("/etc/gatewire/conf.d/actions.toml")
    systemctl("disable", "--now", "gatewire-action.socket")
    assert not SOCKET.exists()


STEPS = [not_before_root_says_so, what_an_action_leaves, restarts, sandbox, reinstall]
