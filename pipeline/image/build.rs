//! Compiles the C that calls libjpeg, against the headers of the libjpeg-turbo that the crate turbojpeg-sys builds.

fn main() {
    println!("cargo::rerun-if-changed=src/libjpeg.c");
    let mut build = cc::Build::new();
    // Several folders are told with commas between them.
    for folder in std::env::var("DEP_TURBOJPEG_INCLUDE").unwrap_or_default().split(',') {
        build.include(folder);
    }
    build.file("src/libjpeg.c").opt_level(3).compile("tuwen_libjpeg");
}
