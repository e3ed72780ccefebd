"""The kubelet's pod-resources API: which device IDs each container has by the kubelet's own books.

The classes of the messages are made from src/kubelet/*.proto when first needed. v1 is asked, and v1alpha1 where the kubelet does not serve it.
"""

import functools
import importlib
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # tests start programs all the time; those never use gRPC

import grpc  # pylint: disable=wrong-import-position

from . import layout as at

PROTOS = pathlib.Path(__file__).resolve().parents[3] / "src" / "kubelet"
VERSIONS = ("v1", "v1alpha1")
DEADLINE_S = 10


@functools.lru_cache(maxsize=None)
def _messages(version):
    name = f"pod_resources_{version}"
    with tempfile.TemporaryDirectory(prefix="edge-gpu-proto.") as folder:
        subprocess.run(["protoc", f"--proto_path={PROTOS}", f"--python_out={folder}", f"{name}.proto"], check=True, timeout=60)
        sys.path.insert(0, folder)
        try:
            return importlib.import_module(f"{name}_pb2")
        finally:
            sys.path.remove(folder)


def _list(channel, version):
    messages = _messages(version)
    call = channel.unary_unary(f"/{version}.PodResourcesLister/List", request_serializer=messages.ListPodResourcesRequest.SerializeToString,
                               response_deserializer=messages.ListPodResourcesResponse.FromString)
    return call(messages.ListPodResourcesRequest(), timeout=DEADLINE_S)


def device_ids():
    """{(namespace, pod, container): {resource: set of device IDs}} of every container the kubelet lists; plain init containers it never does."""
    with grpc.insecure_channel(f"unix://{at.KUBELET_ROOT}/pod-resources/kubelet.sock") as channel:
        try:
            answer = _list(channel, VERSIONS[0])
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                raise
            answer = _list(channel, VERSIONS[1])
    out = {}
    for pod in answer.pod_resources:
        for container in pod.containers:
            held = out.setdefault((pod.namespace, pod.name, container.name), {})
            for devices in container.devices:
                held.setdefault(devices.resource_name, set()).update(devices.device_ids)
    return out


def allocatable():
    """{resource: set of device IDs} that the kubelet may give out at this moment, where it lists them."""
    messages = _messages("v1")
    with grpc.insecure_channel(f"unix://{at.KUBELET_ROOT}/pod-resources/kubelet.sock") as channel:
        call = channel.unary_unary("/v1.PodResourcesLister/GetAllocatableResources",
                                   request_serializer=messages.AllocatableResourcesRequest.SerializeToString,
                                   response_deserializer=messages.AllocatableResourcesResponse.FromString)
        answer = call(messages.AllocatableResourcesRequest(), timeout=DEADLINE_S)
    out = {}
    for devices in answer.devices:
        out.setdefault(devices.resource_name, set()).update(devices.device_ids)
    return out
