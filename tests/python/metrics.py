"""Reads metrics from standard input with Prometheus' own parser, checks what it lets pass, prints NAME{LABELS} VALUE."""

import sys

from prometheus_client.parser import text_string_to_metric_families

text = sys.stdin.read()
families = list(text_string_to_metric_families(text))
names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
assert len(names) == len(set(names)) == len(families), "a metric is there twice, or without TYPE"
for family, name in zip(families, names):
    assert family.documentation, f"{name} has no HELP"
    assert family.samples, f"{name} has no sample"
    assert family.type in ("gauge", "counter", "histogram"), f"{name} is of type {family.type}"
    assert (family.type == "counter") == name.endswith("_total"), f"{name} is a {family.type}"
    of = [name + end for end in ("_bucket", "_sum", "_count")] if family.type == "histogram" else [name]
    buckets = [sample.value for sample in family.samples if sample.name.endswith("_bucket")]
    assert buckets == sorted(buckets), f"{name} isn't cumulative: {buckets}"
    seen = set()
    for sample in family.samples:
        labels = tuple(sorted(sample.labels.items()))
        assert sample.name in of and (sample.name, labels) not in seen, f"{sample.name}{labels}"
        seen.add((sample.name, labels))
        print(sample.name + ",".join(f"{{{key}={value!r}}}" for key, value in labels), float(sample.value))
