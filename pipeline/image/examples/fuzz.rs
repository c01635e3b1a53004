use std::io::Write;
use tuwen_settings::DecodeSettings;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let folder = &args[1];
    let n: u64 = args[2].parse().unwrap();
    let first: u64 = args.get(3).map_or(0, |a| a.parse().unwrap());
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let files: Vec<(String, Vec<u8>)> = files.into_iter().map(|p| (p.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&p).unwrap())).filter(|(_, b)| !b.is_empty()).collect();
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        let mut worst = (0.0, String::new());
        for k in first..first + n {
            let mut s = k.wrapping_mul(0x9e3779b97f4a7c15) ^ 0x1234567;
            let mut rnd = move || { s ^= s << 13; s ^= s >> 7; s ^= s << 17; s };
            let (name, bytes) = &files[(k % files.len() as u64) as usize];
            let mut b = bytes.clone();
            match rnd() % 4 {
                0 => { let l = rnd() as usize % b.len(); b.truncate(l); }
                1 => { for _ in 0..1 + rnd() % 8 { let i = rnd() as usize % b.len(); b[i] = rnd() as u8; } }
                2 => { let h = b.len().min(200); for _ in 0..1 + rnd() % 4 { let i = rnd() as usize % h; b[i] = [0, 255, 1, 0x7f, 0x80, rnd() as u8][rnd() as usize % 6]; } }
                _ => { let i = rnd() as usize % b.len(); b[i] ^= 1 << (rnd() % 8); let l = b.len() - rnd() as usize % (b.len() / 4 + 1); b.truncate(l); let i = rnd() as usize % b.len().max(1); if let Some(v) = b.get_mut(i) { *v = rnd() as u8 } }
            }
            std::fs::write("/tmp/fm/fuzz_last", &b).unwrap();
            let t = std::time::Instant::now();
            let r = tuwen_image::decode_image(&b, &DecodeSettings::default());
            let secs = t.elapsed().as_secs_f64();
            if secs > worst.0 { worst = (secs, format!("{name} #{k}")); }
            if secs > 1.0 { println!("slow {secs:.2} {name} #{k}"); }
            if let Err(e) = &r && e.detail.contains("panicked") { println!("panic {name} #{k} {}", e.detail); }
            let key = match r { Ok(_) => "ok".into(), Err(e) => e.reason.to_string() };
            *counts.entry(key).or_default() += 1;
        }
        println!("{counts:?} worst {worst:?}");
        std::io::stdout().flush().unwrap();
    }).unwrap();
    worker.join().unwrap();
}
