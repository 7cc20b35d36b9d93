//! The node as a process: sockets, files, threads and the clock.
