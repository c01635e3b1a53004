//! The limit of open files, sockets among them. In: what the system allows. Out: how many requests at once that is enough for.

/// Files of one request: its connection, the one that is kept open for the next, and a question to a name server.
const FILES_PER_REQUEST: u64 = 3;

/// Files of all else: tables, connections to a store.
const OTHER_FILES: u64 = 200;

/// Raises the limit of open files as far as the system lets it; how many requests at once it is enough for.
#[expect(unsafe_code, reason = "limits of a process have no safe form")]
pub(super) fn most_requests() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: it writes to what it is given, which is there until it returns.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if failed != 0 {
        return usize::MAX;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: it reads what it is given, which is there until it returns.
    let failed = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) };
    if failed == 0 {
        limit = raised;
    }
    requests(limit.rlim_cur)
}

fn requests(n_files: u64) -> usize {
    let n_requests = n_files.saturating_sub(OTHER_FILES) / FILES_PER_REQUEST;
    usize::try_from(n_requests).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_files_that_the_rest_leaves() {
        for (n_files, expected) in [(0, 1), (256, 18), (1024, 274), (4096, 1298)] {
            assert_eq!(requests(n_files), expected, "{n_files}");
        }
        assert!(most_requests() > 1);
    }
}
