#include <cstdio>

#include <sys/stat.h>

#include "cli/install.h"
#include "flags/command_line.h"

namespace egpu::cli {
namespace {

void print(const std::string& line) {
    std::printf("%s\n", line.c_str());
}

int complain(const char* command, const Error& error, int status) {
    std::fflush(stdout);
    std::fprintf(stderr, "edge-gpu %s: %s\n", command, error.message.c_str());
    return status;
}

template <class Options>
int run(
    const char* command,
    const Result<Options>& options,
    Status (*act)(const Options&, const Systemd&, const Say&)
) {
    if (!options) return complain(command, options.error(), 2);
    if (!options->help.empty()) {
        std::fputs(options->help.c_str(), stdout);
        return 0;
    }
    ::umask(022);  // what is installed is for everybody to read, whatever the caller's shell says
    const Status done = act(*options, Systemd::for_root(options->root), print);
    return done ? 0 : complain(command, done.error(), 1);
}

}  // namespace

int run_install(int argc, char** argv) {
    return run("install", parse_install_options(flags::without_program(argc, argv)), install);
}

int run_uninstall(int argc, char** argv) {
    return run("uninstall", parse_uninstall_options(flags::without_program(argc, argv)), uninstall);
}

}  // namespace egpu::cli
