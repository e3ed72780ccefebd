// The REST side without sockets: from method, path, query and body to status and body. Watches are
// parsed here and streamed in watch_stream.h. Contract:
// https://kubernetes.io/docs/reference/using-api/api-concepts (paths, verbs, paging, Table).
// Thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"
#include "testing/apiserver/api.h"
#include "testing/apiserver/render.h"

namespace egpu::testing {

struct Target {
    const Resource* resource = nullptr;
    std::string name_space;  // "" = all, or cluster-scoped
    std::string name;        // "" = the collection
    std::string subresource;
};

// Nothing when the path names no known resource.
std::optional<Target> parse_target(std::string_view path);

struct RestRequest {
    std::string_view method;
    std::string_view path;
    const http::Query* query = nullptr;
    std::string_view accept;
    std::string_view content_type;
    std::string body;
};

struct RestAnswer {
    int status = 200;
    std::string content_type = "application/json";
    std::string body;
    std::optional<int> retry_after_s;

    static RestAnswer failure(const ApiStatus& status);
};

struct ListResult {
    std::vector<ObjectPtr> items;
    std::uint64_t revision = 0;
    std::string continue_token;
};

// What a read answered with, for the offline cache.
struct ReadResult {
    ObjectPtr object;  // a get
    std::optional<ListResult> list;
};

// The text of a container's log, or nothing when none was set.
using LogSource = std::function<std::optional<std::string>(
    std::string_view name_space, std::string_view pod, std::string_view container
)>;

class Rest {
  public:
    Rest(Api& api, ObjectStore& store, LogSource logs);

    // `read` (may be nullptr) is filled in for plain gets and lists.
    RestAnswer serve(const Target& target, const RestRequest& request, ReadResult* read);

    Outcome<Selection> parse_selection(const Target& target, const http::Query& query) const;
    Outcome<ListResult> list(
        const Resource& resource,
        const Selection& selection,
        std::size_t limit,
        std::string_view continue_token,
        std::uint64_t exact_revision = 0
    ) const;

  private:
    RestAnswer serve_get(const Target&, const RestRequest&, ReadResult*);
    RestAnswer serve_list(const Target&, const RestRequest&, ReadResult*);
    RestAnswer serve_post(const Target&, const RestRequest&);
    RestAnswer serve_put(const Target&, const RestRequest&);
    RestAnswer serve_patch(const Target&, const RestRequest&);
    RestAnswer serve_delete(const Target&, const RestRequest&);
    RestAnswer serve_delete_collection(const Target&, const RestRequest&);
    RestAnswer serve_log(const Target&, const RestRequest&);

    Api& api_;
    ObjectStore& store_;
    LogSource logs_;
};

}  // namespace egpu::testing
