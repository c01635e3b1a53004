//! One picture laid on another. In: two pictures of SxS pixels, and how far the edges of one lie inside those of the other. Out: how
//! much of what there is to see differs, and shifts of the edges by which less does.
//!
//! The shifts are found by least squares (B. Lucas, T. Kanade: An iterative image registration technique, 1981), brightness and
//! contrast are made equal, and what still differs is set against what there is to see: everything but an even ground, or one that
//! fades evenly. The same few levels are nothing on a photo and all of a small thing on white.

/// Farthest that an edge is moved, as part of the side.
const FARTHEST: f32 = 0.056;

/// Contrasts that are made equal.
const GAINS: (f32, f32) = (0.87, 1.15);

/// Weight of each neighbour in the smoothing that makes box means fit for interpolation.
const SMOOTHING: f32 = 0.2;

/// Part of what there is to see that must lie outside a strip along an edge for the strip to be left out.
const REST_PART: f32 = 0.7;

/// Part of the pixels over which there is neither little nor much to see.
const USUAL_EXTENT: f32 = 0.05;

/// What a difference is divided by at least, where there is little to see, and at most.
const ALLOWANCES: (f32, f32) = (0.4, 2.0);

/// Levels of 255 that are added to what there is to see, mean square and largest, so that noise is not all there is.
const ENERGY_FLOOR: f32 = 8.0;
const CONTRAST_FLOOR: f32 = 12.0;

/// C planes of SxS values.
pub(crate) type Planes<const S: usize, const C: usize> = [[[f32; S]; S]; C];

/// Smoothed planes of `[S, S, C]` u8.
pub(crate) fn planes<const S: usize, const C: usize>(bytes: &[u8]) -> Planes<S, C> {
    let mut planes = [[[0.0; S]; S]; C];
    for (i, pixel) in bytes.as_chunks::<C>().0.iter().enumerate() {
        for (plane, &value) in planes.iter_mut().zip(pixel) {
            plane[i / S][i % S] = f32::from(value);
        }
    }
    for plane in &mut planes {
        for row in plane.iter_mut() {
            let old = *row;
            for x in 0..S {
                let beside = old[x.saturating_sub(1)] + old[(x + 1).min(S - 1)];
                row[x] = (1.0 - 2.0 * SMOOTHING) * old[x] + SMOOTHING * beside;
            }
        }
        let old = *plane;
        for y in 0..S {
            let (above, below) = (&old[y.saturating_sub(1)], &old[(y + 1).min(S - 1)]);
            for x in 0..S {
                let beside = above[x] + below[x];
                plane[y][x] = (1.0 - 2.0 * SMOOTHING) * old[y][x] + SMOOTHING * beside;
            }
        }
    }
    planes
}

/// How far the edges of one picture lie inside those of another, as parts of the side: left, right, top, bottom; to the right and
/// down.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) struct Shifts([f32; 4]);

/// Where the pixels of one axis come from: four each, with weights (Catmull-Rom), and 1 or 0 for whether that is inside.
struct Axis<const S: usize> {
    from: [[usize; 4]; S],
    weights: [[f32; 4]; S],
    inside: [f32; S],
}

impl<const S: usize> Axis<S> {
    fn new(low: f32, high: f32) -> Self {
        let mut axis = Self { from: [[0; 4]; S], weights: [[0.0; 4]; S], inside: [0.0; S] };
        for i in 0..S {
            let part = place::<S>(i);
            let at = i as f32 + (low * (1.0 - part) + high * part) * S as f32;
            axis.inside[i] = f32::from(u8::from(at > -0.3 && at < S as f32 - 0.7));
            let at = at.clamp(0.0, S as f32 - 1.0);
            let first = (at as usize).min(S - 2);
            let t = at - first as f32;
            axis.from[i] = std::array::from_fn(|k| (first + k).saturating_sub(1).min(S - 1));
            axis.weights[i] = [
                ((2.0 - t) * t - 1.0) * t * 0.5,
                ((3.0 * t - 5.0) * t * t + 2.0) * 0.5,
                ((4.0 - 3.0 * t) * t + 1.0) * t * 0.5,
                (t - 1.0) * t * t * 0.5,
            ];
        }
        axis
    }
}

/// Middle of pixel `i` as part of the side.
fn place<const S: usize>(i: usize) -> f32 {
    (i as f32 + 0.5) / S as f32
}

/// One picture laid on another; each channel less its mean in what both show.
pub(crate) struct Laid<const S: usize, const C: usize> {
    under: Planes<S, C>,
    over: Planes<S, C>,
    /// `under` less `over` of the same contrast, where both show something, and 0 elsewhere.
    rest: Planes<S, C>,
    /// Pixels that both show, by row and by column.
    inside: [[f32; S]; 2],
}

impl<const S: usize, const C: usize> Laid<S, C> {
    pub(crate) fn new(a: &Planes<S, C>, b: &Planes<S, C>, shifts: &Shifts) -> Self {
        let Shifts([left, right, top, bottom]) = *shifts;
        let (across, down) = (Axis::<S>::new(left, right), Axis::<S>::new(top, bottom));
        let n_pixels = across.inside.iter().sum::<f32>() * down.inside.iter().sum::<f32>();
        let (mut under, mut over) = (*a, *b);
        let (mut product, mut square) = ([0.0; S], [0.0; S]);
        for channel in 0..C {
            if *shifts != Shifts::default() {
                warp(&b[channel], &across, &down, &mut over[channel]);
            }
            for plane in [&mut under[channel], &mut over[channel]] {
                let mut sums = [0.0; S];
                for (row, inside) in plane.iter().zip(down.inside) {
                    for x in 0..S {
                        sums[x] += row[x] * inside;
                    }
                }
                let mean =
                    sums.iter().zip(across.inside).map(|(s, i)| s * i).sum::<f32>() / n_pixels;
                for value in plane.as_flattened_mut() {
                    *value -= mean;
                }
            }
            for (y, (under, over)) in under[channel].iter().zip(&over[channel]).enumerate() {
                for x in 0..S {
                    let over_inside = over[x] * down.inside[y] * across.inside[x];
                    product[x] += under[x] * over_inside;
                    square[x] += over[x] * over_inside;
                }
            }
        }
        // That of equal pictures is 1, even ones among them.
        let gain = (product.iter().sum::<f32>() + 1.0) / (square.iter().sum::<f32>() + 1.0);
        let gain = gain.clamp(GAINS.0, GAINS.1);
        let mut rest = under;
        for (rest, over) in rest.iter_mut().zip(&over) {
            for y in 0..S {
                for x in 0..S {
                    let difference = rest[y][x] - gain * over[y][x];
                    rest[y][x] = difference * down.inside[y] * across.inside[x];
                }
            }
        }
        Self { under, over, rest, inside: [down.inside, across.inside] }
    }

    /// What differs, as part of what there is to see: the root of the mean squares' ratio, times the ratio of the largest values. A
    /// strip along an edge may be left out if nearly all there is to see lies elsewhere: marks are put there. Where there is much
    /// to see less is alike by chance, so more may differ.
    pub(crate) fn difference(&self) -> f32 {
        let n_pixels = self.inside[0].iter().sum::<f32>() * self.inside[1].iter().sum::<f32>();
        let (under, over) = (self.without_ramp(&self.under), self.without_ramp(&self.over));
        let extent = extent(&under, &over) / n_pixels;
        let rest = Regions::of(&self.rest);
        let (under, over) = (Regions::of(&under), Regions::of(&over));
        let n_values = C as f32 * n_pixels;
        let energy = 0.5 * (under.squares(None) + over.squares(None)) / n_values;
        let contrast = under.largest(None).min(over.largest(None));
        let to_see = under.squares(None).min(over.squares(None));
        let ratio = |left_out| {
            let squares = rest.squares(left_out) / n_values / (energy + ENERGY_FLOOR);
            squares.sqrt() * rest.largest(left_out) / (contrast + CONTRAST_FLOOR)
        };
        let strips = (0..4)
            .map(Some)
            .filter(|&strip| under.squares(strip).min(over.squares(strip)) >= REST_PART * to_see);
        let ratio = strips.map(ratio).fold(ratio(None), f32::min);
        ratio / (extent / USUAL_EXTENT).clamp(ALLOWANCES.0, ALLOWANCES.1)
    }

    /// Planes less their means and what rises or falls evenly, where both pictures show something, and 0 elsewhere.
    fn without_ramp(&self, planes: &Planes<S, C>) -> Planes<S, C> {
        let from_middle = |i: usize| i as f32 - (S as f32 - 1.0) / 2.0;
        let squares = S as f32 * (0..S).map(|i| from_middle(i) * from_middle(i)).sum::<f32>();
        let mut out = *planes;
        for plane in &mut out {
            let (mut sums, mut weighted) = ([0.0; S], [0.0; S]);
            for (y, row) in plane.iter().enumerate() {
                for x in 0..S {
                    sums[x] += row[x];
                    weighted[x] += row[x] * from_middle(y);
                }
            }
            let mean = sums.iter().sum::<f32>() / (S * S) as f32;
            let across = (0..S).map(|x| sums[x] * from_middle(x)).sum::<f32>() / squares;
            let down = weighted.iter().sum::<f32>() / squares;
            for (y, row) in plane.iter_mut().enumerate() {
                for x in 0..S {
                    let ramp = mean + across * from_middle(x) + down * from_middle(y);
                    row[x] = (row[x] - ramp) * self.inside[0][y] * self.inside[1][x];
                }
            }
        }
        out
    }
}

/// Interpolates a plane along both axes.
fn warp<const S: usize>(
    plane: &[[f32; S]; S],
    across: &Axis<S>,
    down: &Axis<S>,
    out: &mut [[f32; S]; S],
) {
    for (y, out) in out.iter_mut().enumerate() {
        let mut row = [0.0; S];
        for (from, weight) in down.from[y].iter().zip(down.weights[y]) {
            for x in 0..S {
                row[x] += weight * plane[*from][x];
            }
        }
        for x in 0..S {
            let ([a, b, c, d], weights) = (across.from[x], across.weights[x]);
            out[x] = weights[0] * row[a]
                + weights[1] * row[b]
                + weights[2] * row[c]
                + weights[3] * row[d];
        }
    }
}

/// Number of pixels over which two pictures' squares are spread: (sum of squares)^2 / sum of fourth powers.
fn extent<const S: usize, const C: usize>(a: &Planes<S, C>, b: &Planes<S, C>) -> f32 {
    let (mut squares, mut fourths) = ([0.0f32; S], [0.0f32; S]);
    for y in 0..S {
        for x in 0..S {
            let mut of_pixel = 0.0;
            for (a, b) in a.iter().zip(b) {
                of_pixel += a[y][x] * a[y][x] + b[y][x] * b[y][x];
            }
            squares[x] += of_pixel;
            fourths[x] += of_pixel * of_pixel;
        }
    }
    let squares = squares.iter().sum::<f32>();
    squares * squares / (fourths.iter().sum::<f32>() + 1.0)
}

/// Sums of squares and largest values of planes, by the regions that strips along the edges make: three by three.
struct Regions {
    squares: [[f32; 3]; 3],
    largest: [[f32; 3]; 3],
}

impl Regions {
    fn of<const S: usize, const C: usize>(planes: &Planes<S, C>) -> Self {
        let band = |i: usize| usize::from(i >= S / 8) + usize::from(i >= S - S / 8);
        // By column, for the rows at the top, in the middle and at the bottom.
        let mut squares = [[0.0f32; S]; 3];
        let mut largest = [[0.0f32; S]; 3];
        for plane in planes {
            for (y, row) in plane.iter().enumerate() {
                let (squares, largest) = (&mut squares[band(y)], &mut largest[band(y)]);
                for x in 0..S {
                    squares[x] += row[x] * row[x];
                    largest[x] = if row[x].abs() > largest[x] { row[x].abs() } else { largest[x] };
                }
            }
        }
        let mut regions = Self { squares: [[0.0; 3]; 3], largest: [[0.0; 3]; 3] };
        for down in 0..3 {
            for x in 0..S {
                regions.squares[down][band(x)] += squares[down][x];
                regions.largest[down][band(x)] =
                    regions.largest[down][band(x)].max(largest[down][x]);
            }
        }
        regions
    }

    /// The sum of squares without a strip: top, bottom, left, right.
    fn squares(&self, left_out: Option<usize>) -> f32 {
        regions_without(left_out).map(|(down, across)| self.squares[down][across]).sum()
    }

    /// The largest value outside a strip.
    fn largest(&self, left_out: Option<usize>) -> f32 {
        regions_without(left_out)
            .map(|(down, across)| self.largest[down][across])
            .fold(0.0, f32::max)
    }
}

fn regions_without(strip: Option<usize>) -> impl Iterator<Item = (usize, usize)> {
    let all = (0..9).map(|i| (i / 3, i % 3));
    all.filter(move |&(down, across)| match strip {
        Some(0) => down != 0,
        Some(1) => down != 2,
        Some(2) => across != 0,
        Some(_) => across != 2,
        None => true,
    })
}

impl Shifts {
    /// One step of Gauss and Newton: how the picture above changes with each edge explains as much of the rest as it can.
    pub(crate) fn improve<const S: usize, const C: usize>(&mut self, laid: &Laid<S, C>) {
        // Sums by column: of products of the slopes across (s) and down (t), of both with the rest, and for what depends on the row,
        // weighted by how near its top (and bottom) is.
        let mut ss = [0.0f32; S];
        let mut tt = [[0.0f32; S]; 3];
        let mut st = [[0.0f32; S]; 2];
        let mut sr = [0.0f32; S];
        let mut tr = [[0.0f32; S]; 2];
        for (over, rest) in laid.over.iter().zip(&laid.rest) {
            for y in 0..S {
                if laid.inside[0][y] == 0.0 {
                    continue;
                }
                let (high, low) = (1.0 - place::<S>(y), place::<S>(y));
                let (row, above, below) =
                    (&over[y], &over[y.saturating_sub(1)], &over[(y + 1).min(S - 1)]);
                let scale = slope_scale::<S>(y);
                let mut across = [0.0; S];
                across[0] = (row[1] - row[0]) * S as f32;
                across[S - 1] = (row[S - 1] - row[S - 2]) * S as f32;
                for x in 1..S - 1 {
                    across[x] = (row[x + 1] - row[x - 1]) * (0.5 * S as f32);
                }
                for x in 0..S {
                    let inside = laid.inside[1][x];
                    let s = across[x] * inside;
                    let t = (below[x] - above[x]) * scale * inside;
                    ss[x] += s * s;
                    sr[x] += s * rest[y][x];
                    for (sum, weight) in tt.iter_mut().zip([high * high, high * low, low * low]) {
                        sum[x] += t * t * weight;
                    }
                    for ((st, tr), weight) in st.iter_mut().zip(&mut tr).zip([high, low]) {
                        st[x] += s * t * weight;
                        tr[x] += t * rest[y][x] * weight;
                    }
                }
            }
        }
        let along = |sums: &[f32; S], left: i32, right: i32| -> f64 {
            let weight = |x| (1.0 - place::<S>(x)).powi(left) * place::<S>(x).powi(right);
            (0..S).map(|x| f64::from(sums[x] * weight(x))).sum()
        };
        let mut matrix = [[0.0; 5]; 4];
        matrix[0] = [
            along(&ss, 2, 0),
            along(&ss, 1, 1),
            along(&st[0], 1, 0),
            along(&st[1], 1, 0),
            along(&sr, 1, 0),
        ];
        matrix[1] = [
            matrix[0][1],
            along(&ss, 0, 2),
            along(&st[0], 0, 1),
            along(&st[1], 0, 1),
            along(&sr, 0, 1),
        ];
        matrix[2] = [
            matrix[0][2],
            matrix[1][2],
            along(&tt[0], 0, 0),
            along(&tt[1], 0, 0),
            along(&tr[0], 0, 0),
        ];
        matrix[3] =
            [matrix[0][3], matrix[1][3], matrix[2][3], along(&tt[2], 0, 0), along(&tr[1], 0, 0)];
        // So that nothing moves where nothing is to be seen.
        let trace: f64 = (0..4).map(|i| matrix[i][i]).sum();
        for (i, row) in matrix.iter_mut().enumerate() {
            row[i] += 1e-3 * trace + 5.0 * (S * S) as f64;
        }
        for (shift, step) in self.0.iter_mut().zip(solved(matrix)) {
            *shift = (*shift + step as f32).clamp(-FARTHEST, FARTHEST);
        }
    }
}

/// What a difference of the rows above and below is to be multiplied by to be a slope a side.
fn slope_scale<const S: usize>(y: usize) -> f32 {
    if y == 0 || y == S - 1 { S as f32 } else { 0.5 * S as f32 }
}

/// The solution of a symmetric, positive definite system, whose right side is the last column (Gauss).
fn solved(mut matrix: [[f64; 5]; 4]) -> [f64; 4] {
    for i in 0..4 {
        for below in i + 1..4 {
            let factor = matrix[below][i] / matrix[i][i];
            for column in i..5 {
                matrix[below][column] -= factor * matrix[i][column];
            }
        }
    }
    let mut solution = [0.0; 4];
    for i in (0..4).rev() {
        let known: f64 = (i + 1..4).map(|column| matrix[i][column] * solution[column]).sum();
        solution[i] = (matrix[i][4] - known) / matrix[i][i];
    }
    solution
}
