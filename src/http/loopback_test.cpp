// Server and client over loopback: framing, keep-alive, streams, deadlines, bad peers.
#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "http/client.h"
#include "http/connect.h"
#include "http/server.h"

namespace egpu::http {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TimePoint in(Millis ms) {
    return MonoClock::now() + ms;
}
const Millis kSoon(5000);

std::atomic<int> hanging = 0;

// Answers with what it saw; /hang waits for the stop, /stream sends pieces, /none answers nothing.
void echo(Exchange& ex) {
    const ServerRequest& r = ex.request();
    if (r.path == "/hang") {
        ++hanging;
        ex.stopping().wait_for(Seconds(10));
        static_cast<void>(ex.respond(200, "text/plain", "late"));
    } else if (r.path == "/stream") {
        if (!ex.begin_stream(200, "application/json")) return;
        for (int i = 0; i < 3; ++i) {
            if (!ex.write_stream("{\"n\":" + std::to_string(i) + "}\n")) return;
        }
        static_cast<void>(ex.end_stream());
    } else if (r.path == "/cut") {
        static_cast<void>(ex.begin_stream(200, "text/plain"));
        static_cast<void>(ex.write_stream("half"));
    } else if (r.path == "/none" || r.path == "/ignore") {
        if (r.path == "/ignore") static_cast<void>(ex.respond(200, "text/plain", "ignored"));
    } else if (r.path == "/throw") {
        throw std::runtime_error("no");
    } else {
        auto body = ex.read_all(1U << 20);
        if (!body) {
            static_cast<void>(ex.respond(413, "text/plain", body.error().message));
            return;
        }
        std::string text = r.method + " " + r.path + " q=" + std::string(r.query.get("q")) +
                           " n=" + std::to_string(body->size()) + " " + body->substr(0, 20);
        static_cast<void>(ex.respond(200, "text/plain", text, {{"X-Extra", "1"}}));
    }
}

struct Fixture : testing::Test {
    std::unique_ptr<Server> start(ServerOptions options = {}, Handler handler = echo) {
        auto server = Server::start(std::move(options), std::move(handler));
        EXPECT_TRUE(server) << server.error().message;
        return std::move(*server);
    }
    static std::unique_ptr<Client> client_of(const Server& server, ClientOptions options = {}) {
        options.base_url = "http://127.0.0.1:" + std::to_string(server.port());
        auto client = Client::open(options);
        EXPECT_TRUE(client) << client.error().message;
        return std::move(*client);
    }
};
using Loopback = Fixture;

// What a server sends for raw bytes, until it closes or is silent for `silence`.
std::string raw(int port, std::string_view bytes, Millis silence = Millis(3000)) {
    auto fd = connect_tcp("127.0.0.1", port, in(kSoon), nullptr);
    EXPECT_TRUE(fd);
    ::send(fd->get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    std::string all;
    char piece[4096];
    for (;;) {
        pollfd entry{fd->get(), POLLIN, 0};
        if (::poll(&entry, 1, static_cast<int>(silence.count())) <= 0) return all + "<silent>";
        const ssize_t n = ::recv(fd->get(), piece, sizeof piece, 0);
        if (n <= 0) return all;
        all.append(piece, static_cast<std::size_t>(n));
    }
}

TEST_F(Loopback, CallsReuseOneConnection) {
    auto server = start();
    auto client = client_of(*server);
    for (int i = 0; i < 20; ++i) {
        const auto r = client->call({.target = "/a%20b?q=x%2Fy"}, in(kSoon));
        ASSERT_TRUE(r) << r.error().message;
        EXPECT_EQ(r->status, 200);
        EXPECT_EQ(r->body, "GET /a b q=x/y n=0 ");
        EXPECT_EQ(r->headers.get("x-extra"), "1");
        EXPECT_EQ(server->connections(), 1U);
    }
    const auto post = client->call(
        {.method = "POST", .target = "/p", .body = "hello", .content_type = "text/plain"}, in(kSoon)
    );
    ASSERT_TRUE(post);
    EXPECT_EQ(post->body, "POST /p q= n=5 hello");
    const auto head = client->call({.method = "HEAD", .target = "/h"}, in(kSoon));
    ASSERT_TRUE(head);
    EXPECT_EQ(head->body, "");
    EXPECT_EQ(server->connections(), 1U);
}

TEST_F(Loopback, LargeBodiesBothWays) {
    auto server = start({}, [](Exchange& ex) {
        std::string all;
        std::vector<char> piece(7001);
        for (;;) {
            const auto n = ex.read_some(piece);
            ASSERT_TRUE(n) << n.error().message;
            if (*n == 0) break;
            all.append(piece.data(), *n);
        }
        static_cast<void>(ex.respond(200, "text/plain", all));
    });
    auto client = client_of(*server);
    std::string body;
    while (body.size() < (6U << 20)) body += std::to_string(body.size()) + ",";
    const auto r =
        client->call({.method = "POST", .target = "/", .body = body}, in(Millis(20'000)));
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_TRUE(r->body == body);
    const auto again = client->call({.target = "/"}, in(kSoon));
    ASSERT_TRUE(again);
    EXPECT_EQ(server->connections(), 1U);
}

TEST_F(Loopback, StreamsArriveInPiecesAndEnd) {
    auto server = start();
    auto client = client_of(*server);
    auto stream = client->stream({.target = "/stream"}, in(kSoon));
    ASSERT_TRUE(stream) << stream.error().message;
    EXPECT_EQ((*stream)->status(), 200);
    std::string all;
    char piece[5];
    for (;;) {
        const auto n = (*stream)->read_some(piece, in(kSoon));
        ASSERT_TRUE(n) << n.error().message;
        if (*n == 0) break;
        all.append(piece, *n);
    }
    EXPECT_EQ(all, "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n");
    EXPECT_EQ(client->call({.target = "/stream"}, in(kSoon))->body, all);
}

TEST_F(Loopback, CutStreamIsAnError) {
    auto server = start();
    auto client = client_of(*server);
    const auto r = client->call({.target = "/cut"}, in(kSoon));
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, ErrorCode::kUnavailable);
    const auto post = client->call({.method = "POST", .target = "/cut"}, in(kSoon));
    ASSERT_FALSE(post);
    EXPECT_EQ(post.error().code, ErrorCode::kDeadline) << "the outcome is unknown";
}

TEST_F(Loopback, StreamReadHonoursDeadlineAndStop) {
    std::atomic<bool> seen_closed = false;
    auto server = start({}, [&](Exchange& ex) {
        ASSERT_TRUE(ex.begin_stream(200, "text/plain"));
        ASSERT_TRUE(ex.write_stream("x"));
        while (!ex.peer_closed() && !ex.stopping().wait_for(Millis(5))) {
        }
        seen_closed = ex.peer_closed();
    });
    auto client = client_of(*server);
    auto stream = client->stream({.target = "/"}, in(kSoon));
    ASSERT_TRUE(stream);
    char piece[16];
    EXPECT_EQ(*(*stream)->read_some(piece, in(kSoon)), 1U);
    const auto late = (*stream)->read_some(piece, in(Millis(30)));
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::kDeadline);
    StopSource stop;
    std::thread stopper([&] { stop.request(); });
    const StopToken token = stop.token();
    const auto stopped = (*stream)->read_some(piece, in(kSoon), &token);
    stopper.join();
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().code, ErrorCode::kStopped);
    stream->reset();
    for (int i = 0; i < 500 && !seen_closed; ++i) std::this_thread::sleep_for(Millis(10));
    EXPECT_TRUE(seen_closed) << "the handler sees that the watcher left";
}

TEST_F(Loopback, CallDeadlineWhileTheServerThinks) {
    auto server = start();
    auto client = client_of(*server);
    const TimePoint before = MonoClock::now();
    const auto r = client->call({.target = "/hang"}, in(Millis(100)));
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, ErrorCode::kDeadline);
    EXPECT_GE(MonoClock::now() - before, Millis(95));
    EXPECT_THAT(r.error().message, HasSubstr("/hang"));
}

TEST_F(Loopback, NobodyListens) {
    auto probe = listen_tcp("127.0.0.1:0");
    const int port = local_port(probe->get());
    probe->reset();
    auto client = Client::open({.base_url = "http://localhost:" + std::to_string(port)});
    const auto r = (*client)->call({.method = "POST", .target = "/"}, in(kSoon));
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(r.error().message, HasSubstr("refused"));
}

TEST_F(Loopback, UnknownHostIsUnavailable) {
    auto client = Client::open({.base_url = "http://no-such-host.invalid"});
    const auto r = (*client)->call({.target = "/"}, in(Millis(3000)));
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, ErrorCode::kUnavailable);
}

// A server of one scripted answer per connection, then it closes.
struct Scripted {
    explicit Scripted(std::vector<std::string> answers, bool read_first = true)
        : listener(std::move(*listen_tcp("127.0.0.1:0"))), port(local_port(listener.get())) {
        thread = std::thread([this, answers = std::move(answers), read_first] {
            for (const std::string& answer : answers) {
                pollfd entry{listener.get(), POLLIN, 0};
                if (::poll(&entry, 1, 5000) <= 0) return;
                const Fd fd(::accept(listener.get(), nullptr, nullptr));
                char scratch[4096];
                if (read_first && ::recv(fd.get(), scratch, sizeof scratch, 0) <= 0) continue;
                ++requests;
                ::send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
            }
        });
    }
    ~Scripted() { thread.join(); }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(port); }

    Fd listener;
    int port;
    std::atomic<int> requests = 0;
    std::thread thread;
};

TEST_F(Loopback, StalePooledConnectionRepeatsGetOnly) {
    // The server drops each connection when the second request on it arrives.
    std::atomic<int> served = 0;
    auto listener = listen_tcp("127.0.0.1:0");
    const int port = local_port(listener->get());
    std::thread thread([&] {
        for (int i = 0; i < 3; ++i) {
            const Fd fd([&] {
                pollfd entry{listener->get(), POLLIN, 0};
                ::poll(&entry, 1, 5000);
                return ::accept(listener->get(), nullptr, nullptr);
            }());
            char scratch[4096];
            if (::recv(fd.get(), scratch, sizeof scratch, 0) <= 0) return;
            const std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
            ++served;  // before the client can know of it
            ::send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
            if (::recv(fd.get(), scratch, sizeof scratch, 0) <= 0) return;
        }
    });
    auto client = Client::open({.base_url = "http://127.0.0.1:" + std::to_string(port)});
    EXPECT_TRUE((*client)->call({.target = "/"}, in(kSoon)));
    EXPECT_TRUE((*client)->call({.target = "/"}, in(kSoon))) << "repeated on a fresh connection";
    EXPECT_EQ(served, 2);
    const auto post = (*client)->call({.method = "POST", .target = "/"}, in(kSoon));
    ASSERT_FALSE(post) << "a POST is never repeated";
    EXPECT_EQ(post.error().code, ErrorCode::kDeadline);
    EXPECT_EQ(served, 2);
    client->reset();
    ::shutdown(listener->get(), SHUT_RDWR);
    thread.join();
}

TEST_F(Loopback, AnswersThatAreNotHttp) {
    const std::vector<std::pair<std::string, ErrorCode>> cases = {
        {"SSH-2.0-x\r\n\r\n", ErrorCode::kInvalid},
        {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ErrorCode::kInvalid},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", ErrorCode::kUnavailable},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ErrorCode::kInvalid},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", ErrorCode::kUnavailable},
        {"HTTP/1.1 200", ErrorCode::kUnavailable},
        {"", ErrorCode::kUnavailable},
        {"HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'y'), ErrorCode::kExhausted},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", ErrorCode::kExhausted},
    };
    for (const auto& [answer, code] : cases) {
        Scripted server({answer});
        auto client = Client::open({.base_url = server.url()});
        const auto r = (*client)->call({.target = "/"}, in(kSoon));
        ASSERT_FALSE(r) << answer.substr(0, 60);
        EXPECT_EQ(r.error().code, code) << answer.substr(0, 60) << ": " << r.error().message;
    }
}

TEST_F(Loopback, ContinueAndUntilCloseAnswers) {
    Scripted server({"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end"});
    auto client = Client::open({.base_url = server.url()});
    const auto r = (*client)->call({.target = "/"}, in(kSoon));
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(r->body, "to the end");
}

TEST_F(Loopback, RequestsThatWouldSplitAreRefused) {
    auto server = start();
    auto client = client_of(*server);
    EXPECT_FALSE(client->call({.target = "/a b"}, in(kSoon)));
    EXPECT_FALSE(client->call({.target = "/a\r\nX: y"}, in(kSoon)));
    EXPECT_FALSE(client->call({.target = "a"}, in(kSoon)));
    EXPECT_FALSE(client->call({.target = "/", .headers = {{"X", "a\r\nb"}}}, in(kSoon)));
    EXPECT_FALSE(Client::open({.base_url = "http://a", .user_agent = "a\nb"}));
}

TEST_F(Loopback, BadRequestsGet400AndClose) {
    auto server = start({.max_header = 2048});
    const int port = server->port();
    EXPECT_THAT(raw(port, "hello\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
    EXPECT_THAT(raw(port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
    EXPECT_THAT(raw(port, "GET / HTTP/1.1\r\nBad Header\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
    EXPECT_THAT(
        raw(port, "GET / HTTP/1.1\r\nX: " + std::string(5000, 'x') + "\r\n\r\n"),
        StartsWith("HTTP/1.1 431 ")
    );
    EXPECT_THAT(
        raw(port, "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        StartsWith("HTTP/1.1 400 ")
    );
    EXPECT_THAT(
        raw(port, "POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n"),
        StartsWith("HTTP/1.1 413 ")
    );
}

TEST_F(Loopback, OldAndPipelinedRequests) {
    auto server = start();
    const int port = server->port();
    const std::string old = raw(port, "GET /stream HTTP/1.0\r\n\r\n");
    EXPECT_THAT(old, HasSubstr("\r\n\r\n{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n"));
    EXPECT_EQ(old.find("chunked"), std::string::npos);
    const std::string two =
        raw(port,
            "POST /1 HTTP/1.1\r\nContent-Length: 2\r\n\r\nab"
            "POST /2 HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\ncde\r\n2\r\nfg\r\n0\r\n\r\n");
    EXPECT_THAT(two, HasSubstr("POST /1 q= n=2 ab"));
    EXPECT_THAT(two, HasSubstr("POST /2 q= n=5 cdefg"));
}

TEST_F(Loopback, ExpectContinueIsAnswered) {
    auto server = start();
    auto fd = connect_tcp("127.0.0.1", server->port(), in(kSoon), nullptr);
    const std::string_view head =
        "POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    ::send(fd->get(), head.data(), head.size(), MSG_NOSIGNAL);
    pollfd entry{fd->get(), POLLIN, 0};
    ASSERT_EQ(::poll(&entry, 1, 3000), 1);
    char piece[512];
    const ssize_t n = ::recv(fd->get(), piece, sizeof piece, 0);
    EXPECT_EQ(
        std::string_view(piece, static_cast<std::size_t>(n)), "HTTP/1.1 100 Continue\r\n\r\n"
    );
    ::send(fd->get(), "abc", 3, MSG_NOSIGNAL);
    ASSERT_EQ(::poll(&entry, 1, 3000), 1);
    const ssize_t m = ::recv(fd->get(), piece, sizeof piece, 0);
    EXPECT_THAT(std::string(piece, static_cast<std::size_t>(m)), HasSubstr("n=3 abc"));
}

TEST_F(Loopback, UnreadBodiesAreDrainedOrEndTheConnection) {
    auto server = start();
    auto client = client_of(*server);
    for (const std::size_t size : {std::size_t{10}, std::size_t{100'000}}) {
        const auto r = client->call(
            {.method = "POST", .target = "/ignore", .body = std::string(size, 'x')}, in(kSoon)
        );
        ASSERT_TRUE(r) << r.error().message;
        EXPECT_EQ(r->body, "ignored");
        EXPECT_EQ(server->connections(), 1U);
    }
    const auto big = client->call(
        {.method = "POST", .target = "/ignore", .body = std::string(4U << 20, 'x')}, in(kSoon)
    );
    ASSERT_TRUE(big) << big.error().message;
    EXPECT_EQ(big->body, "ignored");
    EXPECT_TRUE(client->call({.target = "/"}, in(kSoon)));
}

TEST_F(Loopback, BodyLimitsAndSlowPeers) {
    auto server =
        start({.header_timeout = Millis(150), .body_timeout = Millis(150), .max_body = 1000});
    const int port = server->port();
    std::string chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 20; ++i) chunked += "64\r\n" + std::string(100, 'x') + "\r\n";
    EXPECT_THAT(raw(port, chunked + "0\r\n\r\n"), StartsWith("HTTP/1.1 413 "));
    EXPECT_THAT(
        raw(port, "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"), HasSubstr("timed out")
    );
    EXPECT_THAT(raw(port, "POST / HTT"), StartsWith("HTTP/1.1 408 "));
}

TEST_F(Loopback, IdleConnectionsAreClosed) {
    auto server = start({.idle_timeout = Millis(100)});
    EXPECT_EQ(raw(server->port(), ""), "");
    EXPECT_THAT(raw(server->port(), "GET / HTTP/1.1\r\n\r\n"), HasSubstr("GET /"));
}

TEST_F(Loopback, TooManyConnectionsGet503) {
    auto server = start({.max_connections = 2});
    auto a = connect_tcp("127.0.0.1", server->port(), in(kSoon), nullptr);
    auto b = connect_tcp("127.0.0.1", server->port(), in(kSoon), nullptr);
    while (server->connections() < 2) std::this_thread::sleep_for(Millis(1));
    EXPECT_THAT(raw(server->port(), "GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 503 "));
    a->reset();
    for (int i = 0; i < 1000 && server->connections() > 1; ++i) {
        std::this_thread::sleep_for(Millis(2));
    }
    auto client = client_of(*server);
    EXPECT_EQ(client->call({.target = "/"}, in(kSoon))->status, 200);
}

TEST_F(Loopback, HandlersThatFailAnswer500) {
    auto server = start();
    auto client = client_of(*server);
    EXPECT_EQ(client->call({.target = "/none"}, in(kSoon))->status, 500);
    EXPECT_EQ(client->call({.target = "/throw"}, in(kSoon))->status, 500);
    EXPECT_EQ(client->call({.target = "/"}, in(kSoon))->status, 200);
}

TEST_F(Loopback, StopDrainsRequestsInFlight) {
    auto server = start();
    auto client = client_of(*server);
    ASSERT_TRUE(client->call({.target = "/"}, in(kSoon)));  // an idle connection, too
    Result<Response> answer = Error{};
    const int before = hanging;
    std::thread caller([&] { answer = client->call({.target = "/hang"}, in(kSoon)); });
    while (hanging == before) std::this_thread::sleep_for(Millis(1));
    server->stop(Seconds(5));
    caller.join();
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->body, "late");
    EXPECT_EQ(answer->headers.get("Connection"), "close");
    EXPECT_EQ(server->connections(), 0U);
    EXPECT_FALSE(client->call({.target = "/"}, in(kSoon)));
}

TEST_F(Loopback, BadOptions) {
    for (const char* address : {"", "nonsense", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:x"}) {
        const auto r = Server::start({.listen = address}, echo);
        ASSERT_FALSE(r) << address;
        EXPECT_EQ(r.error().code, ErrorCode::kInvalid) << address;
    }
    auto first = start();
    const auto second = Server::start({.listen = first->address()}, echo);
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().message, HasSubstr("in use"));
    EXPECT_FALSE(Client::open({.base_url = "127.0.0.1:80"}));
    auto any = start({.listen = ":0"});
    auto client = Client::open({.base_url = "http://127.0.0.1:" + std::to_string(any->port())});
    EXPECT_TRUE((*client)->call({.target = "/"}, in(kSoon)));
}

TEST_F(Loopback, ManyThreadsShareOneClient) {
    auto server = start();
    auto client = client_of(*server);
    std::vector<std::thread> threads;
    std::atomic<int> good = 0;
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 50; ++i) {
                const std::string q = std::to_string(t * 1000 + i);
                const auto r = client->call({.target = "/?q=" + q}, in(kSoon));
                if (r && r->body == "GET / q=" + q + " n=0 ") ++good;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(good, 400);
}

}  // namespace
}  // namespace egpu::http
