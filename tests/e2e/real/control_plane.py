"""Commands of etcd and of Kubernetes' control plane, and how to see that each is ready."""

import ssl
import urllib.error
import urllib.request

from . import layout as at

ETCD = "127.0.0.1:12379"  # not the usual port: Debian's package may run one there
ETCD_PEER = "127.0.0.1:12380"


def etcd(folders):
    return ["etcd", "--name=e2e", f"--data-dir={folders.etcd}", f"--listen-client-urls=http://{ETCD}", f"--advertise-client-urls=http://{ETCD}",
            f"--listen-peer-urls=http://{ETCD_PEER}", f"--initial-advertise-peer-urls=http://{ETCD_PEER}", f"--initial-cluster=e2e=http://{ETCD_PEER}",
            "--log-level=warn", "--logger=zap"]


def api_server(binary, folders):
    pki = folders.pki
    return [binary, f"--etcd-servers=http://{ETCD}", f"--bind-address={at.NODE_IP}", f"--advertise-address={at.NODE_IP}", "--secure-port=6443",
            f"--service-cluster-ip-range={at.SERVICE_RANGE}", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={pki}/ca.crt", f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-certificate-authority={pki}/ca.crt", f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet.key", "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc", "--allow-privileged=true", f"--cert-dir={pki}", "--profiling=false"]


def controller_manager(binary, folders):
    config = folders.kubeconfig("kube-controller-manager")
    return [binary, f"--kubeconfig={config}", f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}",
            "--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials=true",
            f"--service-account-private-key-file={folders.pki}/sa.key", f"--root-ca-file={folders.pki}/ca.crt",
            f"--flex-volume-plugin-dir={folders.work}/volume-plugins", "--profiling=false"]


def scheduler(binary, folders):
    config = folders.kubeconfig("kube-scheduler")
    return [binary, f"--config={folders.conf}/kube-scheduler.json", f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}",
            "--bind-address=127.0.0.1", "--v=3"]


def answers(url, user=None, folders=None, timeout_s=2.0):
    """True when the URL says 200; the cluster's authority is trusted, local servers with their own certificate are not asked for one."""
    context = None
    if url.startswith("https:"):
        context = ssl.create_default_context(cafile=str(folders.pki / "ca.crt")) if user else ssl._create_unverified_context()
        if user:
            context.load_cert_chain(str(folders.pki / f"{user}.crt"), str(folders.pki / f"{user}.key"))
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        with opener.open(url, timeout=timeout_s) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
