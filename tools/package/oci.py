"""OCI image archives whose bytes depend on nothing but what goes in: sorted, root-owned, one time stamp."""
import dataclasses
import datetime
import gzip
import hashlib
import io
import json
import pathlib
import stat
import tarfile

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A folder (no data, no target), a file (data) or a symbolic link (target) of a root file system."""

    path: str
    mode: int = 0o755
    data: bytes | None = None
    target: str | None = None


def file_entry(path: str, source: pathlib.Path) -> Entry:
    executable = source.stat().st_mode & stat.S_IXUSR
    return Entry(path, 0o755 if executable else 0o644, source.read_bytes())


def _member(entry: Entry, mtime: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(entry.path)
    member.mtime = mtime
    member.mode = entry.mode
    member.uname = member.gname = ""
    if entry.target is not None:
        member.type = tarfile.SYMTYPE
        member.linkname = entry.target
        member.mode = 0o777
    elif entry.data is not None:
        member.size = len(entry.data)
    else:
        member.type = tarfile.DIRTYPE
    return member


def tar(entries: list[Entry], mtime: int) -> bytes:
    """The entries as a tar, parents before children; missing parents are added as folders of mode 755."""
    by_path = {entry.path.strip("/"): entry for entry in entries}
    if len(by_path) != len(entries):
        raise ValueError("a path is given twice")
    for path in list(by_path):
        for parent in pathlib.PurePosixPath(path).parents:
            if str(parent) != ".":
                by_path.setdefault(str(parent), Entry(str(parent)))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, entry in sorted(by_path.items()):
            member = _member(dataclasses.replace(entry, path=path), mtime)
            archive.addfile(member, io.BytesIO(entry.data) if entry.data is not None else None)
    return out.getvalue()


def compressed(data: bytes) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as stream:
        stream.write(data)
    return out.getvalue()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def image_archive(reference: str, architecture: str, config: dict, layers: list[tuple[str, list[Entry]]], mtime: int) -> bytes:
    """An archive that containerd, podman, skopeo and (through manifest.json) every Docker load as `reference`.

    `layers`: what each is, and its entries, bottom first. `config`: the `config` object of the OCI image configuration.
    """
    created = datetime.datetime.fromtimestamp(mtime, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    blobs: dict[str, bytes] = {}

    def put(media_type: str, data: bytes) -> dict:
        digest = _digest(data)
        blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    tars = [tar(entries, mtime) for _, entries in layers]
    descriptors = [put(LAYER, compressed(data)) for data in tars]
    image_config = {
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [_digest(data) for data in tars]},
        "history": [{"created": created, "created_by": name} for name, _ in layers],
    }
    config_descriptor = put(CONFIG, _json(image_config))
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config_descriptor, "layers": descriptors}
    manifest_descriptor = put(MANIFEST, _json(manifest))
    # containerd reads the first annotation, podman and skopeo the second.
    manifest_descriptor["annotations"] = {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference,
    }
    manifest_descriptor["platform"] = {"architecture": architecture, "os": "linux"}

    def blob_path(digest: str) -> str:
        return "blobs/" + digest.replace(":", "/")

    docker = [{
        "Config": blob_path(config_descriptor["digest"]),
        "RepoTags": [reference.removeprefix("docker.io/library/")],
        "Layers": [blob_path(layer["digest"]) for layer in descriptors],
    }]
    files = [
        Entry("oci-layout", 0o644, _json({"imageLayoutVersion": "1.0.0"})),
        Entry("index.json", 0o644, _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest_descriptor]})),
        Entry("manifest.json", 0o644, _json(docker)),
    ]
    files += [Entry(blob_path(digest), 0o644, data) for digest, data in blobs.items()]
    return tar(files, mtime)
