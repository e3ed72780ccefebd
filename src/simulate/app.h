// `edge-gpu simulate`: placement policies against a trace, in virtual time.
#pragma once

namespace egpu::simulate {

// argv[0] is the command's name. Exit status: 0 done (also --help), 1 a file cannot be read or is
// wrong, 2 wrong flags. SIGINT and SIGTERM end it at once.
int run_simulate(int argc, char** argv);

}  // namespace egpu::simulate
