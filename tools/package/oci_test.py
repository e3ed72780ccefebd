"""python3 -m pytest tools/package: archives are reproducible, root-owned, and say what loaders read."""
import gzip
import io
import json
import tarfile

import pytest

from oci import Entry, image_archive, tar

LAYERS = [
    ("base", [Entry("usr/lib/b.so", 0o644, b"b"), Entry("lib", target="usr/lib"), Entry("tmp", 0o1777)]),
    ("program", [Entry("usr/bin/edge-gpu", 0o755, b"program")]),
]


def image(layers=None, mtime=7) -> bytes:
    return image_archive("docker.io/library/edge-gpu:1.2.3", "arm64", {"User": "65532"}, layers or LAYERS, mtime)


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    return {member.name: member for member in tarfile.open(fileobj=io.BytesIO(data)).getmembers()}


def read(data: bytes, path: str) -> bytes:
    return tarfile.open(fileobj=io.BytesIO(data)).extractfile(path).read()


def test_order_of_entries_does_not_matter():
    assert image([(name, entries[::-1]) for name, entries in LAYERS]) == image()


def test_time_stamp_matters_and_is_the_given_one():
    assert image(mtime=8) != image()
    assert {member.mtime for member in members(tar(LAYERS[0][1], 8)).values()} == {8}


def test_all_is_owned_by_root_and_parents_come_first():
    found = members(tar(LAYERS[0][1], 0))
    assert list(found) == ["lib", "tmp", "usr", "usr/lib", "usr/lib/b.so"]
    assert {(member.uid, member.gid, member.uname, member.gname) for member in found.values()} == {(0, 0, "", "")}
    assert found["tmp"].mode == 0o1777 and found["lib"].linkname == "usr/lib" and found["usr/lib/b.so"].mode == 0o644


def test_a_path_given_twice_is_refused():
    with pytest.raises(ValueError):
        tar([Entry("a", data=b"1"), Entry("/a", data=b"2")], 0)


def test_every_loader_finds_the_name_and_the_layers():
    data = image()
    index = json.loads(read(data, "index.json"))["manifests"][0]
    assert index["platform"] == {"architecture": "arm64", "os": "linux"}
    assert index["annotations"] == {
        "io.containerd.image.name": "docker.io/library/edge-gpu:1.2.3",
        "org.opencontainers.image.ref.name": "docker.io/library/edge-gpu:1.2.3",
    }
    manifest = json.loads(read(data, "blobs/" + index["digest"].replace(":", "/")))
    docker = json.loads(read(data, "manifest.json"))[0]
    assert docker["RepoTags"] == ["edge-gpu:1.2.3"]
    assert docker["Layers"] == ["blobs/" + layer["digest"].replace(":", "/") for layer in manifest["layers"]]
    config = json.loads(read(data, docker["Config"]))
    assert (config["architecture"], config["config"]["User"]) == ("arm64", "65532")
    top = gzip.decompress(read(data, docker["Layers"][1]))
    assert read(top, "usr/bin/edge-gpu") == b"program"
