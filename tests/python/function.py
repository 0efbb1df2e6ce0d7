"""Runs a function of packaging/aws/fleet.yaml as Lambda does: each line of standard input is an event, and is answered by a line, what
the handler returns. Its environment is that of this program."""

import json
import sys

import yaml


class Loader(yaml.SafeLoader):
    """Without the meaning of CloudFormation's tags."""


def without_meaning(loader, _suffix, node):
    construct = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: loader.construct_sequence}
    return construct[type(node)](node)


Loader.add_multi_constructor("!", without_meaning)
path, name = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    code = yaml.load(file, Loader)["Resources"][name]["Properties"]["Code"]["ZipFile"]
function = {}
exec(compile(code, name, "exec"), function)  # pylint: disable=exec-used
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    print(json.dumps(function["handler"](json.loads(line), None)), file=answers, flush=True)
