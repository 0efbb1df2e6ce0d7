"""Jobs, from the cloud to what root has done and to the result that the cloud has, with the recipes of docs/recipes."""

import hashlib
import json
import os
import pathlib
import signal
import subprocess

from cloud import Cloud
from machine import (WORK, Broker, actions_of_root, drop_in, eventually, is_connected, prop, remove_drop_in, replaced, run, runs,
                     status, systemctl, write)

BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")
RECIPES = pathlib.Path("/usr/share/doc/gatewire/docs/recipes")

ACTIONS = """
[[action]]
name = "fail"
run = ["/bin/sh", "-c", "echo what went wrong >&2; exit 3"]
as = "root"
report_output = true

[[action]]
name = "slow"
run = ["/bin/sh", "-c", "echo begun >> /root/slow; exec sleep 1235"]
as = "root"

[[action]]
name = "circle"
run = ["/usr/bin/systemctl", "restart", "gatewire"]
as = "root"
rerun = true
"""

broker = Broker()
cloud = Cloud(broker)


def set_up():
    """with the recipes copied, the socket enabled and a reload, it is ready for jobs"""
    cloud.start()
    for recipe in ["restart-services.toml", "reboot.toml", "packages.toml", "upgrade-gatewire.toml"]:
        run("install", "-m", "644", RECIPES / recipe, "/etc/gatewire/conf.d/")
    write("/etc/gatewire/conf.d/actions.toml", ACTIONS)
    systemctl("enable", "--now", "gatewire-action.socket")
    print(run("runuser", "-u", "gatewire", "--", "gatewire", "check").splitlines()[-1])
    systemctl("reload", "gatewire")
    eventually("ready", lambda: status().get("services", {}).get("jobs", {}).get("state") == "ready")


def begun(job):
    """How often root has begun something for a job, in all boots: once its helper is gone, which is the last to say something."""
    eventually("no helper is left", lambda: "gatewire-action@" not in systemctl("list-units", "--plain", "gatewire-action@*"))
    said = [record["MESSAGE"] for record in actions_of_root("-t", "gatewire")]
    return sum(f" of execution {job}:1:" in message and "has begun" in message for message in said)


def restart():
    """a job restarts a service, in AWS's old form and in that of its managed template"""
    write("/etc/systemd/system/nodered.service", "[Service]\nExecStart=/bin/sleep 1000000\n")
    systemctl("daemon-reload")
    systemctl("start", "nodered")
    template = {"version": "1.0", "steps": [{"action": {"name": "Restart-Application", "type": "runHandler", "input": {
        "handler": "restart-services.sh", "args": ["nodered nodered.service"], "path": "default"}, "runAsUser": "root"}}]}
    for job, document in [("restart-1", {"operation": "restart", "args": ["nodered"]}), ("restart-2", template)]:
        process = prop("MainPID", "nodered.service")
        cloud.create(job, document)
        details = cloud.over(job, "SUCCEEDED")
        assert details["action"] == "restart" and details["exit_code"] == "0", details
        assert prop("MainPID", "nodered.service") not in ("0", process) and begun(job) == 1


def failures():
    """a program that fails is FAILED with its reason, what isn't listed is REJECTED and not begun"""
    cloud.create("fail-1", {"operation": "fail"})
    details = cloud.over("fail-1", "FAILED")
    assert details["exit_code"] == "3" and details["stderr"] == "what went wrong\\n", details
    eventually("the list", lambda: "ended with exit code 3" in run("gatewire", "jobs"))
    for job, document, why in [
            ("restart-sshd", {"operation": "restart", "args": ["sshd"]}, "args[0]: \"sshd\" doesn't match `args` of the action \"restart\""),
            ("format", {"operation": "format"}, "no action is called \"format\"")]:
        cloud.create(job, document)
        assert why in cloud.over(job, "REJECTED")["reason"] and begun(job) == 0
    # A service that doesn't start.
    cloud.create("restart-3", {"operation": "restart", "args": ["zigbee2mqtt"]})
    details = cloud.over("restart-3", "FAILED")
    assert "zigbee2mqtt.service not found" in details["stderr"], details


def killed():
    """kill -9 of the helper, of the daemon, and of both in the middle: nothing of it is left, it is FAILED, and not begun again"""
    daemon = lambda: int(prop("MainPID"))
    def helper():
        units = systemctl("list-units", "--plain", "--no-legend", "gatewire-action@*").split()
        return int(prop("MainPID", next(unit for unit in units if unit.startswith("gatewire-action@"))))
    for job, victims, reason in [
            ("slow-1", [helper], "gatewire act, which runs it as root, is gone"),
            ("slow-2", [daemon], "interrupted: "),
            ("slow-3", [daemon, helper], "interrupted: ")]:
        pathlib.Path("/root/slow").unlink(missing_ok=True)
        cloud.create(job, {"operation": "slow"})
        eventually("it has begun", pathlib.Path("/root/slow").exists)
        before = daemon()
        for process in [victim() for victim in victims]:
            os.kill(process, signal.SIGKILL)
        if daemon in victims:
            replaced(before)
        assert reason in cloud.over(job, "FAILED")["reason"]
        assert not runs("sleep 1235"), "it is gone before anything is told"
        assert pathlib.Path("/root/slow").read_text() == "begun\n" and begun(job) == 1
    is_connected()


def circle():
    """an action that ends gatewire each time isn't begun again for ever, nor so often that systemd gives gatewire up"""
    systemctl("reset-failed", "gatewire")
    cloud.create("circle-1", {"operation": "circle"})
    assert "begun 4 times" in cloud.over("circle-1", "FAILED")["reason"] and begun("circle-1") == 4
    is_connected()


SLOW = """Package: jq
Version: 99
Architecture: all
Maintainer: nobody
Description: it isn't done before it may be
"""


def packages():
    """a package whose installation is interrupted is repaired by a job, and what comes after it succeeds"""
    source = WORK / "source"
    write(source / "jq/DEBIAN/control", SLOW)
    write(source / "jq/DEBIAN/postinst", "#!/bin/sh\n: > /run/configuring\nuntil [ -e /run/may-be-done ]; do sleep 0.1; done\n", 0o755)
    run("dpkg-deb", "--build", source / "jq", source / "jq.deb")
    content = (source / "jq.deb").read_bytes()
    with open(source / "Packages", "a") as index:
        index.write(f"\n{SLOW}Filename: ./jq.deb\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n")
    write("/etc/apt/sources.list", f"deb [trusted=yes] file:{source} ./\n")
    for other in pathlib.Path("/etc/apt/sources.list.d").iterdir():
        other.unlink()
    cloud.create("lists-1", {"operation": "refresh-packages"})
    cloud.over("lists-1", "SUCCEEDED")
    cloud.create("jq-1", {"operation": "install", "args": ["jq"]})
    eventually("it is being installed", pathlib.Path("/run/configuring").exists)
    process = int(prop("MainPID"))
    os.kill(process, signal.SIGKILL)
    replaced(process)
    # `rerun = true`
    assert "dpkg was interrupted" in cloud.over("jq-1", "FAILED")["stderr"] and begun("jq-1") == 2
    pathlib.Path("/run/may-be-done").touch()
    for job, document in [("repair-1", {"operation": "repair-packages"}), ("jq-2", {"operation": "remove", "args": ["jq"]})]:
        cloud.create(job, document)
        cloud.over(job, "SUCCEEDED")
    # One that has gatewire configured, too, isn't ended by its restart, which waits.
    run("dpkg", "--unpack", WORK / "next.deb")
    process = int(prop("MainPID"))
    cloud.create("jq-3", {"operation": "install", "args": ["jq"]})
    cloud.over("jq-3", "SUCCEEDED")
    replaced(process)
    assert begun("jq-3") == 1 and run("dpkg", "--audit") == ""


def upgrade():
    """a job installs a newer gatewire with apt-get, which replaces the daemon, and the new one reports that it has succeeded"""
    process = int(prop("MainPID"))
    steps = [{"action": {"name": name, "type": "runCommand", "input": {"command": command}}}
             for name, command in [("lists", "refresh-packages"), ("upgrade", "upgrade-gatewire"), ("whole", "repair-packages")]]
    cloud.create("upgrade-1", {"version": "1.0", "steps": steps})
    details = cloud.over("upgrade-1", "SUCCEEDED")
    assert details["step"] == "whole", details
    replaced(process)
    # It was there to its end.
    history = pathlib.Path("/var/log/apt/history.log").read_text().rstrip().split("\n\n")[-1]
    assert "--only-upgrade" in history and "End-Date: " in history and "Error" not in history, history
    assert begun("upgrade-1") == 3
    assert run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Version}", "gatewire").endswith("+next+more")
    assert run("dpkg", "--audit") == ""
    # The configuration that the user has edited stays.
    assert 'endpoint = "localhost"' in pathlib.Path("/etc/gatewire/gatewire.toml").read_text()
    # The new one is as good as the old one.
    cloud.create("restart-4", {"operation": "restart", "args": ["nodered"]})
    cloud.over("restart-4", "SUCCEEDED")


def reboot():
    """a job reboots the machine"""
    # In its sandbox the daemon sees the boot id of the kernel, which isn't the container's.
    write("/etc/tmpfiles.d/boot-id.conf", f"C /run/boot-id - - - - {BOOT_ID}\n")
    run("systemd-tmpfiles", "--create", "boot-id.conf")
    drop_in("boot-id", f"[Service]\nBindReadOnlyPaths=/run/boot-id:{BOOT_ID}\n")
    systemctl("restart", "gatewire")
    is_connected()
    write(WORK / "boot-id", BOOT_ID.read_text())
    cloud.create("reboot-1", {"operation": "reboot"})
    eventually("it goes down", lambda: False, 100)


def has_rebooted():
    """back from the reboot by a job, it reports that it has succeeded, and doesn't begin it again"""
    assert (WORK / "boot-id").read_text() != BOOT_ID.read_text()
    assert cloud.execution("reboot-1")["status"] == "IN_PROGRESS"
    # It would ask before there is somebody who answers, and again 15 s later.
    process = int(prop("MainPID"))
    os.kill(process, signal.SIGSTOP)
    broker.start()
    cloud.start()
    os.kill(process, signal.SIGCONT)
    is_connected()
    assert cloud.over("reboot-1", "SUCCEEDED")["action"] == "reboot"
    assert begun("reboot-1") == 1
    # Nothing waits for it any more: the next job begins.
    cloud.create("restart-5", {"operation": "restart", "args": ["nodered"]})
    cloud.over("restart-5", "SUCCEEDED")
    remove_drop_in("boot-id")


def listed():
    """`gatewire jobs` lists all of them to who may see the status, and to root alone while the daemon is stopped"""
    ask = lambda user, *words: subprocess.run(["runuser", "-u", user, "--", "gatewire", "jobs", *words], text=True,
                                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    expected = [(execution["job"], execution["status"]) for execution in cloud.executions]
    def is_complete(answer):
        assert answer.returncode == 0 and answer.stderr == "", answer
        assert [(row["id"], row["status"]) for row in json.loads(answer.stdout)["executions"]] == expected, answer.stdout
    print(ask("member").stdout)
    for user in ["root", "member"]:
        is_complete(ask(user, "--json"))
    refused = ask("stranger")
    assert refused.returncode == 69 and refused.stdout == "" and "usermod -aG gatewire" in refused.stderr, refused
    systemctl("stop", "gatewire")
    is_complete(ask("root", "--json"))
    for user in ["member", "stranger"]:
        refused = ask(user)
        assert refused.returncode == 69 and refused.stdout == "" and "`sudo gatewire jobs`" in refused.stderr, refused
    systemctl("start", "gatewire")
    is_connected()
    systemctl("disable", "--now", "gatewire-action.socket")


STEPS = [set_up, restart, failures, killed, circle, packages, upgrade, reboot]
AFTER_REBOOT = [has_rebooted, listed]
