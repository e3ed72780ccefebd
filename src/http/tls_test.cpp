// TLS with certificates made on the spot by the openssl command.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"
#include "http/client.h"
#include "http/server.h"

namespace egpu::http {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

TimePoint soon() {
    return MonoClock::now() + Seconds(10);
}

class Tls : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder() = fs::temp_directory_path() / ("edge-gpu-tls-" + std::to_string(::getpid()));
        fs::create_directories(folder());
        ca("ca");
        ca("other-ca");
        leaf("server", "ca", "server", "subjectAltName=DNS:localhost,IP:127.0.0.1");
        leaf("client", "ca", "kube-scheduler", "extendedKeyUsage=clientAuth");
        leaf("stranger", "other-ca", "stranger", "extendedKeyUsage=clientAuth");
    }
    static void TearDownTestSuite() { fs::remove_all(folder()); }

    static fs::path& folder() {
        static fs::path path;
        return path;
    }
    static std::string file(const std::string& name) { return (folder() / name).string(); }
    static void run(const std::string& command) {
        ASSERT_EQ(std::system((command + " 2>/dev/null").c_str()), 0) << command;
    }
    static void ca(const std::string& name) {
        run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
            "-subj /CN=" +
            name + " -keyout " + file(name + ".key") + " -out " + file(name + ".crt"));
    }
    static void leaf(
        const std::string& name,
        const std::string& by,
        const std::string& cn,
        const std::string& ext
    ) {
        std::ofstream(file(name + ".ext")) << ext << "\n";
        run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=" + cn +
            " -keyout " + file(name + ".key") + " -out " + file(name + ".csr"));
        run("openssl x509 -req -days 1 -CAcreateserial -CA " + file(by + ".crt") + " -CAkey " +
            file(by + ".key") + " -in " + file(name + ".csr") + " -extfile " + file(name + ".ext") +
            " -out " + file(name + ".crt"));
    }

    static std::unique_ptr<Server> start(bool require_client) {
        ServerOptions options;
        options.use_tls = true;
        options.tls = {file("server.crt"), file("server.key"), file("ca.crt"), require_client};
        auto server = Server::start(options, [](Exchange& ex) {
            auto body = ex.read_all(32U << 20);
            if (!body) return;
            static_cast<void>(ex.respond(
                200,
                "text/plain",
                ex.request().client_cn + ":" + std::to_string(body->size()) +
                    std::string(70'000, 'y')
            ));
        });
        EXPECT_TRUE(server) << server.error().message;
        return std::move(*server);
    }
    static Result<std::string> call(
        const Server& server,
        ClientTls tls,
        const std::string& host = "127.0.0.1",
        std::string body = ""
    ) {
        ClientOptions options;
        options.base_url = "https://" + host + ":" + std::to_string(server.port());
        options.tls = std::move(tls);
        EG_TRY(const auto client, Client::open(options));
        EG_TRY(
            const Response first,
            client->call({.method = "POST", .target = "/", .body = std::move(body)}, soon())
        );
        EG_TRY(const Response second, client->call({.target = "/"}, soon()));
        EXPECT_EQ(server.connections(), 1U) << "kept alive";
        EXPECT_EQ(second.status, 200);
        return first.body.substr(0, first.body.find('y'));
    }
};

TEST_F(Tls, VerifiesNameAddressAndAuthority) {
    auto server = start(false);
    EXPECT_EQ(*call(*server, {.ca_file = file("ca.crt")}), ":0");
    server = start(false);
    EXPECT_EQ(
        *call(*server, {.ca_file = file("ca.crt")}, "localhost", std::string(9 << 20, 'b')),
        ":9437184"
    );
    server = start(false);
    EXPECT_TRUE(call(*server, {.insecure = true}));

    const auto unknown = call(*server, {.ca_file = file("other-ca.crt")});
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, ErrorCode::kPermission);
    EXPECT_THAT(unknown.error().message, HasSubstr("not accepted"));
    const auto name = call(*server, {.ca_file = file("ca.crt"), .server_name = "elsewhere"});
    ASSERT_FALSE(name);
    EXPECT_THAT(name.error().message, HasSubstr("ostname mismatch"));
    server = start(false);
    EXPECT_TRUE(call(*server, {.ca_file = file("ca.crt"), .server_name = "localhost"}));
}

TEST_F(Tls, ClientCertificates) {
    auto server = start(true);
    const auto none = call(*server, {.ca_file = file("ca.crt")});
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, ErrorCode::kPermission) << none.error().message;
    const auto stranger = call(
        *server,
        {.ca_file = file("ca.crt"),
         .cert_file = file("stranger.crt"),
         .key_file = file("stranger.key")}
    );
    ASSERT_FALSE(stranger);
    server = start(true);
    EXPECT_EQ(
        *call(
            *server,
            {.ca_file = file("ca.crt"),
             .cert_file = file("client.crt"),
             .key_file = file("client.key")}
        ),
        "kube-scheduler:0"
    );
    // As text, and key and certificate in one file, as the kubelet keeps them.
    const std::string both = *read_file(file("client.crt")) + *read_file(file("client.key"));
    server = start(true);
    EXPECT_EQ(
        *call(*server, {.ca_pem = *read_file(file("ca.crt")), .cert_pem = both, .key_pem = both}),
        "kube-scheduler:0"
    );
}

TEST_F(Tls, OptionalClientCertificateMayBeAbsent) {
    auto server = start(false);
    EXPECT_EQ(*call(*server, {.ca_file = file("ca.crt")}), ":0");
}

TEST_F(Tls, RotatedFilesAreReRead) {
    auto server = start(true);
    const std::string cert = file("rotating.pem");
    fs::copy_file(file("stranger.crt"), cert, fs::copy_options::overwrite_existing);
    std::ofstream(cert, std::ios::app) << *read_file(file("stranger.key"));
    ClientOptions options;
    options.base_url = "https://127.0.0.1:" + std::to_string(server->port());
    options.tls = {.ca_file = file("ca.crt"), .cert_file = cert, .key_file = cert};
    auto client = Client::open(options);
    EXPECT_FALSE((*client)->call({.target = "/"}, soon()));
    ASSERT_TRUE(
        write_file_atomically(cert, *read_file(file("client.crt")) + *read_file(file("client.key")))
    );
    const auto r = (*client)->call({.target = "/"}, soon());
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_THAT(r->body, testing::StartsWith("kube-scheduler:"));
}

TEST_F(Tls, PlainAndTlsDoNotMix) {
    auto server = start(false);
    auto plain = Client::open({.base_url = "http://127.0.0.1:" + std::to_string(server->port())});
    EXPECT_FALSE((*plain)->call({.target = "/"}, soon()));
    auto http = Server::start({}, [](Exchange& ex) { static_cast<void>(ex.respond(200, "", "")); });
    auto tls = Client::open({.base_url = "https://127.0.0.1:" + std::to_string((*http)->port())});
    const auto r = (*tls)->call({.target = "/"}, soon());
    ASSERT_FALSE(r);
    EXPECT_THAT(r.error().message, HasSubstr("TLS"));
}

TEST_F(Tls, BadFilesAreNamed) {
    ServerOptions options;
    options.use_tls = true;
    options.tls = {file("absent.crt"), file("server.key"), "", false};
    const auto handler = [](Exchange&) {};
    auto r = Server::start(options, handler);
    ASSERT_FALSE(r);
    EXPECT_THAT(r.error().message, HasSubstr("absent.crt"));
    options.tls = {file("server.crt"), file("client.key"), "", false};
    r = Server::start(options, handler);
    ASSERT_FALSE(r);
    EXPECT_THAT(r.error().message, HasSubstr("does not belong"));
    options.tls = {file("server.ext"), file("server.key"), "", false};
    EXPECT_FALSE(Server::start(options, handler));
    EXPECT_FALSE(Client::open({.base_url = "https://a", .tls = {.cert_file = "x"}}));
}

TEST_F(Tls, StreamNoticesThatThePeerLeft) {
    ServerOptions options;
    options.use_tls = true;
    options.tls = {file("server.crt"), file("server.key"), "", false};
    std::atomic<bool> left = false;
    auto server = Server::start(options, [&](Exchange& ex) {
        if (!ex.begin_stream(200, "text/plain") || !ex.write_stream("x")) return;
        while (!ex.peer_closed() && !ex.stopping().wait_for(Millis(5))) {
        }
        left = ex.peer_closed();
    });
    ClientOptions client_options;
    client_options.base_url = "https://127.0.0.1:" + std::to_string((*server)->port());
    client_options.tls.insecure = true;
    auto client = Client::open(client_options);
    {
        auto stream = (*client)->stream({.target = "/"}, soon());
        ASSERT_TRUE(stream) << stream.error().message;
        char byte[4];
        EXPECT_EQ(*(*stream)->read_some(byte, soon()), 1U);
        EXPECT_FALSE(left);
    }
    for (int i = 0; i < 500 && !left; ++i) ::usleep(10'000);
    EXPECT_TRUE(left);
}

}  // namespace
}  // namespace egpu::http
