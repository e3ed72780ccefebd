#include "testing/apiserver/watch_stream.h"

#include <algorithm>
#include <charconv>

namespace egpu::testing {
namespace {

constexpr std::size_t kBatch = 512;
constexpr std::size_t kInitialPiece = 256U << 10;  // bytes of initial events a write
// How often a quiet watch looks whether its client is still there.
constexpr Duration kLookUp = Millis(500);
constexpr std::int64_t kDefaultTimeout = 1800;

struct Parameters {
    std::uint64_t revision = 0;  // 0: start with the present state
    std::int64_t timeout_s = kDefaultTimeout;
    bool bookmarks = false;
    bool send_initial = false;
};

std::optional<std::uint64_t> number(std::string_view text) {
    std::uint64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return n;
}

Outcome<Parameters> parse_parameters(const http::Query& query) {
    Parameters p;
    if (const auto text = query.get("resourceVersion"); !text.empty()) {
        const auto n = number(text);
        if (!n) return status::bad_request("invalid resource version: " + std::string(text));
        p.revision = *n;
    }
    if (const auto text = query.get("timeoutSeconds"); !text.empty()) {
        const auto n = number(text);
        if (!n || *n > 1'000'000)
            return status::bad_request("timeoutSeconds is no number: " + std::string(text));
        if (*n > 0) p.timeout_s = static_cast<std::int64_t>(*n);
    }
    p.bookmarks = query.has("allowWatchBookmarks") && query.flag("allowWatchBookmarks");
    p.send_initial = query.has("sendInitialEvents") && query.flag("sendInitialEvents");
    return p;
}

class WatchStream {
  public:
    WatchStream(
        http::Exchange& exchange,
        const Target& target,
        const Rest& rest,
        const ObjectStore& store,
        const WatchSettings& settings,
        Selection selection,
        const Parameters& parameters,
        Form form
    )
        : exchange_(exchange),
          target_(target),
          rest_(rest),
          store_(store),
          settings_(settings),
          selection_(std::move(selection)),
          parameters_(parameters),
          form_(form) {}

    void run() {
        cursor_.epoch = store_.watch_epoch();
        cursor_.seen = parameters_.revision;
        if (!exchange_.begin_stream(200, "application/json")) return;
        if (parameters_.revision == 0 || parameters_.send_initial) {
            if (!send_present()) return;
        }
        follow();
    }

  private:
    // The present state as ADDED events.
    bool send_present() {
        auto present = rest_.list(*target_.resource, selection_, 0, "");
        if (!present) {
            send_error(present.failure());
            return false;
        }
        std::string out;
        for (const auto& object : present->items) {
            append(out, EventType::kAdded, object, 0);
            if (out.size() < kInitialPiece) continue;
            if (!send(out)) return false;
            out.clear();
        }
        cursor_.seen = present->revision;
        if (parameters_.send_initial && parameters_.bookmarks)
            out += render_bookmark(*target_.resource, cursor_.seen, form_, true);
        return out.empty() || send(out);
    }

    void follow() {
        const TimePoint end = MonoClock::now() + Seconds(parameters_.timeout_s);
        TimePoint bookmark = MonoClock::now() + settings_.bookmark_interval;
        for (;;) {
            const TimePoint now = MonoClock::now();
            if (now >= end) {
                if (!parameters_.bookmarks || send_bookmark())
                    static_cast<void>(exchange_.end_stream());
                return;
            }
            if (parameters_.bookmarks && now >= bookmark) {
                if (!send_bookmark()) return;
                bookmark = now + settings_.bookmark_interval;
            }
            TimePoint wake = std::min(end, now + kLookUp);
            if (parameters_.bookmarks) wake = std::min(wake, bookmark);
            const auto batch = store_.wait(*target_.resource, cursor_, wake, kBatch);
            switch (batch.wake) {
                case ObjectStore::Wake::kBroken:
                    return;  // not ended: the client sees it cut
                case ObjectStore::Wake::kExpired:
                    send_error(status::expired(
                        "too old resource version: " + std::to_string(cursor_.seen) + " (" +
                        std::to_string(store_.revision()) + ")"
                    ));
                    return;
                case ObjectStore::Wake::kTimeout:
                    if (exchange_.stopping().stopped() || exchange_.peer_closed()) return;
                    break;
                case ObjectStore::Wake::kEvents:
                    if (!send_events(batch.events)) return;
                    break;
            }
        }
    }

    bool send_events(const std::vector<StoreEvent>& events) {
        std::string out;
        for (const auto& event : events) {
            // An object that enters the selection is ADDED to it, one that leaves is DELETED: with
            // the state it had inside, and the revision of the change.
            const bool was = event.previous != nullptr && selection_.matches(*event.previous);
            const bool is = event.type != EventType::kDeleted && selection_.matches(*event.object);
            if (is) {
                append(out, was ? EventType::kModified : EventType::kAdded, event.object, 0);
            } else if (was) {
                append(out, EventType::kDeleted, event.previous, event.revision);
            }
        }
        return out.empty() || send(out);
    }

    void append(std::string& out, EventType type, const ObjectPtr& object, std::uint64_t revision) {
        if (settings_.on_event) settings_.on_event(type, object);
        out += render_event(type, *object, form_, revision);
        form_.headers = false;  // a Table's columns are sent once
    }

    bool send_bookmark() {
        return send(render_bookmark(*target_.resource, cursor_.seen, form_, false));
    }

    void send_error(const ApiStatus& failure) {
        if (send(render_error_event(failure.to_json()))) static_cast<void>(exchange_.end_stream());
    }

    bool send(std::string_view text) { return exchange_.write_stream(text).ok(); }

    http::Exchange& exchange_;
    const Target& target_;
    const Rest& rest_;
    const ObjectStore& store_;
    const WatchSettings& settings_;
    const Selection selection_;
    const Parameters parameters_;
    Form form_;
    ObjectStore::Cursor cursor_;
};

}  // namespace

void serve_watch(
    http::Exchange& exchange,
    const Target& target,
    const Rest& rest,
    const ObjectStore& store,
    const WatchSettings& settings
) {
    const auto& request = exchange.request();
    const auto refuse = [&](const ApiStatus& failure) {
        static_cast<void>(exchange.respond(failure.code, "application/json", failure.to_json()));
    };
    auto parameters = parse_parameters(request.query);
    if (!parameters) return refuse(parameters.failure());
    auto selection = rest.parse_selection(target, request.query);
    if (!selection) return refuse(selection.failure());
    const Form form =
        Form::from_accept(request.headers.get("Accept"), request.query.get("includeObject"));
    WatchStream stream(
        exchange, target, rest, store, settings, std::move(*selection), *parameters, form
    );
    stream.run();
}

}  // namespace egpu::testing
