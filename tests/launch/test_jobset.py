"""launch/jobset.yaml is valid, restarts what exit code 75 ends and gives up after exit code 2."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubeflow_trainer_api.models.jobset_v1alpha2_failure_policy_rule import JobsetV1alpha2FailurePolicyRule
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet

from resnet_alexnet import main

FILE = Path(__file__).parents[2] / "launch" / "jobset.yaml"


def read() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def checked(jobset: dict[str, Any]) -> dict[str, Any]:
    """What the types made from the published schema of JobSet v1alpha2 and of Kubernetes keep of a JobSet.

    A required field that is missing, or a value of the wrong type, is an error. An unknown field is left out.
    """
    model = JobsetV1alpha2JobSet.from_dict(jobset)
    assert model is not None
    return model.to_dict()


def job(jobset: dict[str, Any]) -> dict[str, Any]:
    (replicated,) = jobset["spec"]["replicatedJobs"]
    assert replicated["replicas"] == 1
    return replicated["template"]["spec"]


def container(jobset: dict[str, Any]) -> dict[str, Any]:
    (only,) = job(jobset)["template"]["spec"]["containers"]
    return only


def test_it_is_valid_and_has_no_unknown_field():
    jobset = read()
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert checked(jobset) == jobset


def test_the_check_sees_wrong_and_unknown_fields():
    wrong = read()
    job(wrong)["completions"] = "two"
    with pytest.raises(ValueError, match="completions"):
        checked(wrong)
    unknown = read()
    job(unknown)["completion"] = 2
    assert checked(unknown) != unknown


def test_its_actions_and_names_are_those_of_the_schema():
    fields = JobsetV1alpha2FailurePolicyRule.model_fields
    actions = re.findall(r"Restart\w+|Fail\w+", fields["action"].description or "")
    name = re.search(r'"(\^.*\$)"', fields["name"].description or "")
    assert actions
    assert name
    for rule in read()["spec"]["failurePolicy"]["rules"]:
        assert rule["action"] in actions
        assert re.fullmatch(name[1], rule["name"])


@pytest.mark.parametrize(
    ("code", "action"),
    [(75, "RestartJobSetAndIgnoreMaxRestarts"), (2, "FailJobSet"), (1, None), (134, None), (137, None)],
)
def test_what_follows_from_an_exit_code(code, action):
    """None: the default, which is a restart that counts."""
    jobset = read()
    spec = job(jobset)
    (pod_rule,) = spec["podFailurePolicy"]["rules"]
    assert pod_rule["onExitCodes"]["containerName"] == container(jobset)["name"]
    if code in pod_rule["onExitCodes"]["values"]:  # in the words of the Job controller
        name = pod_rule["onExitCodes"]["containerName"]
        message = f"Container {name} for pod default/a failed with exit code {code} matching FailJob rule at index 0"
        reason = "PodFailurePolicy"
    else:
        assert spec["backoffLimit"] == 0
        reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    rules = jobset["spec"]["failurePolicy"]["rules"]
    matching = [
        rule["action"]
        for rule in rules
        if reason in rule["onJobFailureReasons"]
        and any(re.search(pattern, message) for pattern in rule["onJobFailureMessagePatterns"])
    ]
    assert matching == ([] if action is None else [action])


def test_its_processes_find_each_other():
    jobset = read()
    spec, train = job(jobset), container(jobset)
    assert spec["completionMode"] == "Indexed"
    assert [variable["name"] for variable in train["env"]] == ["PROCESS_ID"]
    words = [word.replace("$(PROCESS_ID)", "1") for word in train["command"]]
    assert words[:3] == ["python", "-m", "resnet_alexnet.main"]
    options = main.create_parser().parse(words[3:])
    assert options.num_processes == spec["completions"] == spec["parallelism"]
    assert options.process_id == 1
    name = jobset["metadata"]["name"]
    first_pod = f"{name}-{jobset['spec']['replicatedJobs'][0]['name']}-0-0.{name}"
    assert options.coordinator_address.rpartition(":")[0] == first_pod
    assert any(str(options.workdir).startswith(mount["mountPath"]) for mount in train["volumeMounts"])
