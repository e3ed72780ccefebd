"""The cluster's certificates and kubeconfigs, by openssl."""

import json
import subprocess

from . import layout as at


def _openssl(*arguments, text=None):
    done = subprocess.run(["openssl", *map(str, arguments)], input=text, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")


def make_authority(pki):
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", "/CN=edge-gpu-e2e-ca",
             "-keyout", pki / "ca.key", "-out", pki / "ca.crt")
    # Signs service account tokens.
    _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", pki / "sa.key")
    _openssl("pkey", "-in", pki / "sa.key", "-pubout", "-out", pki / "sa.pub")


def issue(pki, name, common_name, organisation=None, addresses=(), names=()):
    """A key and a certificate NAME.key, NAME.crt for both ends of TLS."""
    subject = (f"/O={organisation}" if organisation else "") + f"/CN={common_name}"
    extensions = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature,keyEncipherment", "extendedKeyUsage=clientAuth,serverAuth"]
    alternatives = [f"IP:{one}" for one in addresses] + [f"DNS:{one}" for one in names]
    if alternatives:
        extensions.append("subjectAltName=" + ",".join(alternatives))
    (pki / f"{name}.ext").write_text("\n".join(extensions) + "\n")
    _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
             "-keyout", pki / f"{name}.key", "-out", pki / f"{name}.csr")
    _openssl("x509", "-req", "-in", pki / f"{name}.csr", "-CA", pki / "ca.crt", "-CAkey", pki / "ca.key", "-CAcreateserial", "-days", "30",
             "-extfile", pki / f"{name}.ext", "-out", pki / f"{name}.crt")


def write_kubeconfig(folders, user, server=at.API):
    """A kubeconfig (JSON is YAML) whose files are named by path."""
    folders.kubeconfig(user).write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
        "clusters": [{"name": "e2e", "cluster": {"server": server, "certificate-authority": str(folders.pki / "ca.crt")}}],
        "users": [{"name": user, "user": {"client-certificate": str(folders.pki / f"{user}.crt"), "client-key": str(folders.pki / f"{user}.key")}}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": user}}],
    }, indent=1))


USERS = {  # name: (common name, organisation)
    "admin": ("edge-gpu-e2e-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", None),
    "kube-scheduler": ("system:kube-scheduler", None),
    "kubelet": (f"system:node:{at.NODE}", "system:nodes"),
    "edge-gpu-agent": ("edge-gpu-agent", None),
    "edge-gpu-scheduler": ("edge-gpu-scheduler", None),
}


def make_all(folders):
    make_authority(folders.pki)
    issue(folders.pki, "apiserver", "kube-apiserver", addresses=["127.0.0.1", at.NODE_IP, at.API_SERVICE_IP],
          names=["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"])
    issue(folders.pki, "apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters")
    issue(folders.pki, "kubelet-server", f"system:node:{at.NODE}", "system:nodes", addresses=[at.NODE_IP], names=[at.NODE])
    for user, (common_name, organisation) in USERS.items():
        issue(folders.pki, user, common_name, organisation)
        write_kubeconfig(folders, user)
