// Ties an embedded kubelet to an API server, as the kubelet's own sync loops do: registers the Node
// and keeps its capacity current, admits the pods bound to it, reports their status and events, and
// finishes graceful deletions (containers stop first, then DELETE with grace 0).
//
// Errors of the API server are retried for ever, never reported: like a kubelet that works on while
// the cloud is away. Thread-safe.
#pragma once

#include <memory>

#include "base/clock.h"
#include "base/result.h"
#include "k8s/client.h"
#include "sim/kubelet_objects.h"
#include "testing/kubelet/kubelet.h"

namespace egpu::sim {

struct KubeletSyncOptions {
    NodeFacts facts;
    std::string pod_ip_prefix = "10.244.0.";
    Duration tick = Millis(200);       // node status on change only (the real kubelet: 10 s)
    Duration heartbeat = Seconds(10);  // node status without a change
    Duration retry = Millis(100);
};

class KubeletSync {
  public:
    // Sets the kubelet's callbacks; call before kubelet.start(). The kubelet must outlive stop().
    KubeletSync(testing::Kubelet& kubelet, k8s::Client client, KubeletSyncOptions options);
    ~KubeletSync();  // stop()
    KubeletSync(const KubeletSync&) = delete;
    KubeletSync& operator=(const KubeletSync&) = delete;

    void start();
    // Stop the kubelet first: an admission that waits for a plugin ends only with it.
    void stop();

    // The pods this node is responsible for were listed at least once.
    bool synced() const;

  private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace egpu::sim
