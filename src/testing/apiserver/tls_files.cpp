// Certificates for a test server, by the openssl program: this folder may not use the library.
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"
#include "testing/apiserver/api_server.h"

namespace egpu::testing {
namespace {

Status run(const std::vector<std::string>& arguments) {
    std::vector<char*> argv;
    for (const auto& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    pid_t pid = 0;
    const int failed = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (failed == ENOENT) {
        return Error{
            ErrorCode::kNotFound,
            "there is no program " + arguments[0] +
                " in PATH, which makes the certificate (Debian: apt-get install " + arguments[0] +
                ")"};
    }
    if (failed != 0) return errno_error("start " + arguments[0], failed);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) return errno_error("wait for " + arguments[0], errno);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ok_status();
    std::string line;
    for (const auto& a : arguments) line += (line.empty() ? "" : " ") + a;
    return Error{ErrorCode::kInternal, "failed: " + line};
}

}  // namespace

Result<TlsFiles> make_tls_files(const std::filesystem::path& folder) {
    EG_TRY_VOID(make_directories(folder, 0700));
    const auto at = [&](const char* name) { return (folder / name).string(); };
    EG_TRY_VOID(write_file_atomically(
        folder / "server.ext",
        "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
        "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n"
    ));
    EG_TRY_VOID(run(
        {"openssl",
         "req",
         "-x509",
         "-newkey",
         "ec",
         "-pkeyopt",
         "ec_paramgen_curve:P-256",
         "-nodes",
         "-days",
         "3650",
         "-subj",
         "/CN=edge-gpu test CA",
         "-addext",
         "basicConstraints=critical,CA:TRUE",
         "-keyout",
         at("ca.key"),
         "-out",
         at("ca.crt")}
    ));
    EG_TRY_VOID(run(
        {"openssl",
         "req",
         "-newkey",
         "ec",
         "-pkeyopt",
         "ec_paramgen_curve:P-256",
         "-nodes",
         "-subj",
         "/CN=edge-gpu test server",
         "-keyout",
         at("server.key"),
         "-out",
         at("server.csr")}
    ));
    EG_TRY_VOID(run(
        {"openssl",
         "x509",
         "-req",
         "-in",
         at("server.csr"),
         "-CA",
         at("ca.crt"),
         "-CAkey",
         at("ca.key"),
         "-CAcreateserial",
         "-days",
         "3650",
         "-extfile",
         at("server.ext"),
         "-out",
         at("server.crt")}
    ));
    return TlsFiles{at("server.crt"), at("server.key"), at("ca.crt")};
}

}  // namespace egpu::testing
