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
            let (mut before, mut after) = (old, old);
            before[1..].copy_from_slice(&old[..S - 1]);
            after[..S - 1].copy_from_slice(&old[1..]);
            *row = smoothed(&before, &old, &after);
        }
        let mut above = plane[0];
        for y in 0..S {
            let (old, below) = (plane[y], plane[(y + 1).min(S - 1)]);
            plane[y] = smoothed(&above, &old, &below);
            above = old;
        }
    }
    planes
}

fn smoothed<const S: usize>(before: &[f32; S], at: &[f32; S], after: &[f32; S]) -> [f32; S] {
    let mut out = [0.0; S];
    for x in 0..S {
        out[x] = (1.0 - 2.0 * SMOOTHING) * at[x] + SMOOTHING * (before[x] + after[x]);
    }
    out
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

/// One picture laid on another.
pub(crate) struct Laid<'a, const S: usize, const C: usize> {
    under: &'a Planes<S, C>,
    /// The other one, its edges moved.
    over: Planes<S, C>,
    /// Means of the channels of each, where both show something.
    means: [[f32; C]; 2],
    /// What makes the contrast of `over` that of `under`.
    gain: f32,
    /// 1 for the rows, and for the columns, that both show, and 0 for others.
    inside: [[f32; S]; 2],
    n_pixels: f32,
}

impl<'a, const S: usize, const C: usize> Laid<'a, S, C> {
    pub(crate) fn new(under: &'a Planes<S, C>, other: &Planes<S, C>, shifts: &Shifts) -> Self {
        let Shifts([left, right, top, bottom]) = *shifts;
        let (across, down) = (Axis::<S>::new(left, right), Axis::<S>::new(top, bottom));
        let mut over = *other;
        if *shifts != Shifts::default() {
            for (plane, out) in other.iter().zip(&mut over) {
                warp(plane, &across, &down, out);
            }
        }
        let inside = [down.inside, across.inside];
        let n_pixels = inside[0].iter().sum::<f32>() * inside[1].iter().sum::<f32>();
        let mut means = [[0.0; C]; 2];
        for (planes, means) in [under, &over].iter().zip(&mut means) {
            for (plane, mean) in planes.iter().zip(means) {
                *mean = weighted_sum(plane, &inside) / n_pixels;
            }
        }
        let (mut product, mut square) = ([0.0; S], [0.0; S]);
        for channel in 0..C {
            let [under_mean, over_mean] = means.map(|means| means[channel]);
            for (y, (under, over)) in under[channel].iter().zip(&over[channel]).enumerate() {
                for x in 0..S {
                    let over = over[x] - over_mean;
                    let over_inside = over * inside[0][y] * inside[1][x];
                    product[x] += (under[x] - under_mean) * over_inside;
                    square[x] += over * over_inside;
                }
            }
        }
        // That of equal pictures is 1, even ones among them.
        let gain = (product.iter().sum::<f32>() + 1.0) / (square.iter().sum::<f32>() + 1.0);
        Self { under, over, means, gain: gain.clamp(GAINS.0, GAINS.1), inside, n_pixels }
    }

    /// A row of the lower picture less that of the upper one, 0 where one shows nothing.
    fn rest(&self, channel: usize, y: usize) -> [f32; S] {
        let [under_mean, over_mean] = self.means.map(|means| means[channel]);
        let (under, over) = (&self.under[channel][y], &self.over[channel][y]);
        let inside = self.inside[0][y];
        let mut rest = [0.0; S];
        for x in 0..S {
            let difference = (under[x] - under_mean) - self.gain * (over[x] - over_mean);
            rest[x] = difference * inside * self.inside[1][x];
        }
        rest
    }

    /// What differs, as part of what there is to see: the root of the mean squares' ratio, times the ratio of the largest values. A
    /// strip along an edge may be left out if nearly all there is to see lies elsewhere: marks are put there. Where there is much
    /// to see less is alike by chance, so more may differ.
    pub(crate) fn difference(&self) -> f32 {
        let (mut under, mut over, mut rest) = (Columns::new(), Columns::new(), Columns::new());
        let ramps = [self.under, &self.over].map(|planes| planes.each_ref().map(Ramp::of));
        let (mut squares, mut fourths) = ([0.0f32; S], [0.0f32; S]);
        for y in 0..S {
            let mut of_pixels = [0.0; S];
            for channel in 0..C {
                let [a, b] = [(0, self.under), (1, &self.over)].map(|(picture, planes)| {
                    let mut row = ramps[picture][channel].taken_off(&planes[channel][y], y);
                    for (value, inside) in row.iter_mut().zip(self.inside[1]) {
                        *value *= self.inside[0][y] * inside;
                    }
                    row
                });
                for x in 0..S {
                    of_pixels[x] += a[x] * a[x] + b[x] * b[x];
                }
                under.add(y, &a);
                over.add(y, &b);
                rest.add(y, &self.rest(channel, y));
            }
            for x in 0..S {
                squares[x] += of_pixels[x];
                fourths[x] += of_pixels[x] * of_pixels[x];
            }
        }
        // Over how many pixels the squares are spread.
        let extent = squares.iter().sum::<f32>().powi(2)
            / (fourths.iter().sum::<f32>() + 1.0)
            / self.n_pixels;
        let [rest, under, over] = [rest, under, over].map(|columns| columns.regions());
        let n_values = C as f32 * self.n_pixels;
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
}

/// Sum of a plane's values, weighted by row and by column.
fn weighted_sum<const S: usize>(plane: &[[f32; S]; S], weights: &[[f32; S]; 2]) -> f32 {
    let mut sums = [0.0; S];
    for (row, weight) in plane.iter().zip(weights[0]) {
        for x in 0..S {
            sums[x] += row[x] * weight;
        }
    }
    (0..S).map(|x| sums[x] * weights[1][x]).sum()
}

/// What is even in a plane, or rises or falls evenly: its values by column, and how they grow from row to row.
struct Ramp<const S: usize> {
    columns: [f32; S],
    down: f32,
}

fn from_middle<const S: usize>(i: usize) -> f32 {
    i as f32 - (S as f32 - 1.0) / 2.0
}

impl<const S: usize> Ramp<S> {
    fn of(plane: &[[f32; S]; S]) -> Self {
        let squares = S as f32 * (0..S).map(|i| from_middle::<S>(i).powi(2)).sum::<f32>();
        let (mut sums, mut weighted) = ([0.0; S], [0.0; S]);
        for (y, row) in plane.iter().enumerate() {
            for x in 0..S {
                sums[x] += row[x];
                weighted[x] += row[x] * from_middle::<S>(y);
            }
        }
        let mean = sums.iter().sum::<f32>() / (S * S) as f32;
        let across = (0..S).map(|x| sums[x] * from_middle::<S>(x)).sum::<f32>() / squares;
        let columns = std::array::from_fn(|x| mean + across * from_middle::<S>(x));
        Self { columns, down: weighted.iter().sum::<f32>() / squares }
    }

    fn taken_off(&self, row: &[f32; S], y: usize) -> [f32; S] {
        let down = self.down * from_middle::<S>(y);
        let mut left = [0.0; S];
        for x in 0..S {
            left[x] = row[x] - (self.columns[x] + down);
        }
        left
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
        for (out, (from, weights)) in out.iter_mut().zip(across.from.iter().zip(&across.weights)) {
            let [a, b, c, d] = from.map(|x| row[x]);
            *out = weights[0] * a + weights[1] * b + weights[2] * c + weights[3] * d;
        }
    }
}

/// Sums of squares and largest values by column, for the rows at the top, in the middle and at the bottom.
struct Columns<const S: usize> {
    squares: [[f32; S]; 3],
    largest: [[f32; S]; 3],
}

impl<const S: usize> Columns<S> {
    fn new() -> Self {
        Self { squares: [[0.0; S]; 3], largest: [[0.0; S]; 3] }
    }

    /// Which of three strips line `i` lies in.
    fn band(i: usize) -> usize {
        usize::from(i >= S / 8) + usize::from(i >= S - S / 8)
    }

    fn add(&mut self, y: usize, row: &[f32; S]) {
        let (squares, largest) =
            (&mut self.squares[Self::band(y)], &mut self.largest[Self::band(y)]);
        for x in 0..S {
            squares[x] += row[x] * row[x];
            largest[x] = if row[x].abs() > largest[x] { row[x].abs() } else { largest[x] };
        }
    }

    fn regions(&self) -> Regions {
        let mut regions = Regions { squares: [[0.0; 3]; 3], largest: [[0.0; 3]; 3] };
        for down in 0..3 {
            for x in 0..S {
                let across = Self::band(x);
                regions.squares[down][across] += self.squares[down][x];
                let largest = &mut regions.largest[down][across];
                *largest = largest.max(self.largest[down][x]);
            }
        }
        regions
    }
}

/// Sums of squares and largest values, by the regions that strips along the edges make: three by three.
struct Regions {
    squares: [[f32; 3]; 3],
    largest: [[f32; 3]; 3],
}

impl Regions {
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
    pub(crate) fn improve<const S: usize, const C: usize>(&mut self, laid: &Laid<'_, S, C>) {
        // Sums by column: of products of the slopes across (s) and down (t), of both with the rest, and for what depends on the row,
        // weighted by how near its top (and bottom) is.
        let mut ss = [0.0f32; S];
        let mut tt = [[0.0f32; S]; 3];
        let mut st = [[0.0f32; S]; 2];
        let mut sr = [0.0f32; S];
        let mut tr = [[0.0f32; S]; 2];
        for (channel, over) in laid.over.iter().enumerate() {
            for y in 0..S {
                if laid.inside[0][y] == 0.0 {
                    continue;
                }
                let rest = laid.rest(channel, y);
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
                    sr[x] += s * rest[x];
                    for (sum, weight) in tt.iter_mut().zip([high * high, high * low, low * low]) {
                        sum[x] += t * t * weight;
                    }
                    for ((st, tr), weight) in st.iter_mut().zip(&mut tr).zip([high, low]) {
                        st[x] += s * t * weight;
                        tr[x] += t * rest[x] * weight;
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
        let pivot = matrix[i];
        for row in &mut matrix[i + 1..] {
            let factor = row[i] / pivot[i];
            for (value, above) in row.iter_mut().zip(pivot).skip(i) {
                *value -= factor * above;
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
