/** Loaded before a program: its wall clock goes wrong by FROSTLINE_TEST_SKEW_MS. */
const skewMs = Number(process.env.FROSTLINE_TEST_SKEW_MS);
const RightDate = Date;
globalThis.Date = class WrongDate extends RightDate {
  constructor(...args) {
    if (args.length === 0) super(RightDate.now() + skewMs);
    else super(...args);
  }

  static now() {
    return RightDate.now() + skewMs;
  }
};
