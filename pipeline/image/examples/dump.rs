use std::io::Write;
// stdin: lines "path"; writes path.rgb.. out folder argv1; prints name \t header or rejection
#[allow(unsafe_code)]
fn main() {
    if std::env::var_os("NOASM").is_some() { unsafe { rav1d::src::cpu::dav1d_set_cpu_flags_mask(0) } }
    let out = std::env::args().nth(1).unwrap();
    let timeit = std::env::args().nth(2).is_some();
    for line in std::io::stdin().lines() {
        let path = line.unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let name = std::path::Path::new(&path).file_name().unwrap().to_str().unwrap().to_owned();
        let t = std::time::Instant::now();
        let found = tuwen_image::decode_full(&bytes);
        if timeit { eprintln!("{name} {:.1} ms", t.elapsed().as_secs_f64() * 1e3); }
        match found {
            Ok((h, rgb)) => {
                let mut f = std::fs::File::create(format!("{out}/{name}.raw")).unwrap();
                f.write_all(&rgb.pixels).unwrap();
                println!("{name}\tok\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}", h.format, h.color, h.width, h.height, h.frames, h.orientation, rgb.width, rgb.height);
            }
            Err(r) => println!("{name}\t{}\t{}", r.reason, r.detail),
        }
    }
}
