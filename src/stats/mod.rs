//! Numbers: every test davy rests on, and what each assumes.
//!
//! Owns the arithmetic and nothing else: no plans, no clocks, no words for people. All of it takes
//! exp, ln, erfc and their kin from `libm`, sums in a fixed order, and draws from pinned streams.
//!
//! | module | what it answers | what it assumes |
//! |---|---|---|
//! | [`rank`], [`exact`], [`mann_whitney`], [`hodges_lehmann`] | one comparison of two samples | exchangeable values under equality |
//! | [`buckets`] | the buckets of histograms, made disjoint | a bounded set of disjoint intervals |
//! | [`censored`], [`resolution`] | the same of rounded values, and which step they were rounded to | a law flat over one step |
//! | [`multiscale`], [`null_paths`], [`noise`] | is some recent window worse, at every look | the law of each tick's score |
//! | [`lan_demets`], [`spending`] | is the whole run within a bound, at every look | Gaussian increments |
//! | [`count_dp`], [`count_law`], [`law`] | the same for counts, exactly | the law of each tick's count |
//! | [`ar_paths`], [`persistence`] | the same for one number a tick | first-order autocorrelation up to 0.8 |
//! | [`dispersion`] | how much sums over many ticks vary | a stationary stretch, long against its correlation |
//! | [`mixture`], [`normal_mixture`] | bounds without a horizon | Bernoulli, Poisson or sub-Gaussian increments |
//! | [`tilts`] | the same for any known law, and changes at any time | the law of each tick's score |

pub mod ar_paths;
pub mod buckets;
pub mod censored;
pub mod count_dp;
pub mod count_law;
pub mod dispersion;
pub mod exact;
pub mod hodges_lehmann;
pub mod lan_demets;
pub mod law;
pub mod mann_whitney;
pub mod mixture;
pub mod multiscale;
pub mod noise;
pub mod normal_mixture;
pub mod null_paths;
pub mod persistence;
pub mod rank;
pub mod recipe;
pub mod resolution;
pub mod sampler;
pub mod special;
pub mod spending;
pub mod tilts;
