//! Windows that come ahead of the readers: what is read from them, whose they are, and that they are not the whole table.

use super::*;

/// At most three batches at a time, of which the table has eight.
fn windows(row_groups: usize) -> StreamOptions {
    let shuffle = Shuffle::Window { row_groups };
    StreamOptions { shuffle, batch_size: 60, readers: 1, prefetch: 1, ..options() }
}

/// The files are gone before their rows are read, so what is read came ahead.
#[test]
fn a_window_is_in_memory_once_its_first_rows_are() {
    for layout in [Layout::Direct, Layout::Mixed, Layout::Zstd] {
        let fixture = Fixture::new(layout);
        let open =
            |options| Stream::open_by(fixture.location(), options, ReadPath::Ranges).unwrap();
        let mut whole = open(windows(100)).epoch(0, 0).unwrap();
        let mut some = open(windows(1)).epoch(0, 0).unwrap();
        // Rows of every file, each of which is one span.
        let first = rows_of(&whole.next().unwrap().unwrap());
        assert_eq!(some.next().unwrap().unwrap().len(), 60);
        fixture.image_files().iter().for_each(|file| std::fs::remove_file(file).unwrap());
        let rows = [first, drain(whole)].concat();
        assert_once(rows, &expected_of(layout, "train", 0, |_, _| true), &format!("{layout:?}"));
        let error = some.find_map(Result::err).expect("two windows of ten are not the table");
        assert!(format!("{error:#}").contains("table `images` version 2"), "{error:#}");
    }
}

/// Ranks, resumes, readers and captions grouped by length move through the windows in other ways.
#[test]
fn what_comes_ahead_is_what_would_be_read() {
    let fixture = Fixture::new(Layout::Direct);
    for (world, readers, row_groups, group_by_length, from) in
        [(1, 1, 1, false, 0), (1, 4, 3, false, 101), (3, 2, 2, false, 60), (2, 3, 1, true, 0)]
    {
        for rank in 0..world {
            let options = StreamOptions {
                rank,
                world,
                readers,
                group_by_length,
                batch_size: 7,
                ..windows(row_groups)
            };
            let read = |read_path| {
                let stream =
                    Stream::open_by(fixture.location(), options.clone(), read_path).unwrap();
                drain(stream.resume(&stream.state(3, from)).unwrap())
            };
            let what = format!("rank {rank} of {world}, {row_groups} row groups");
            assert_same(&read(ReadPath::Ranges), &read(ReadPath::Fastest), &what);
        }
    }
}
