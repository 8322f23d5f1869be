// What a report shows, as plain data: whoever has something to tell fills in a story, and html.ts makes a page of it. The
// page's own code (viewer/report) reads nothing else.

import type { Granule } from "../model/granule.js";

/** A cell of a table: numbers are aligned right and get separators. */
export type Cell = string | number;

/** A column of a {@link TableSection}. */
export interface Column {
  /** Its heading. */
  name: string;
  /** How numbers are written: as counts (default), bytes, seconds, or addresses in hex. */
  unit?: "count" | "bytes" | "seconds" | "address";
  /** Mark the least or the greatest number of the column as the best. */
  best?: "least" | "greatest";
}

/** What all sections have. */
interface Titled {
  /** The heading. */
  title: string;
  /** What is to be seen, and how to read it. Sentences. */
  note?: string;
}

/** Rows and columns. */
export interface TableSection extends Titled {
  /** Tells the kinds of section apart. */
  kind: "table";
  /** What each cell of a row is. */
  columns: Column[];
  /** The cells, a row each. */
  rows: Cell[][];
}

/** One line of a {@link ChartSection}. */
export interface Series {
  /** What it counts. */
  name: string;
  /** A value for each x; null where nothing is known. */
  values: (number | null)[];
}

/** Numbers over time, or over rounds. */
export interface ChartSection extends Titled {
  /** Tells the kinds of section apart. */
  kind: "chart";
  /** What x is. */
  x: {
    /** Its name and unit: `seconds`. */
    name: string;
    /** Ascending. */
    values: number[];
  };
  /** Counts in each step of x are drawn as bars, a state at x as a stepped line. */
  drawn: "bars" | "steps";
  /** The lines, most important first. */
  series: Series[];
}

/** Where in the address space something happened, over time. */
export interface HeatmapSection extends Titled {
  /** Tells the kinds of section apart. */
  kind: "heatmap";
  /** Columns: `count` steps of `step` seconds from `start`. */
  time: {
    /** The first moment, in seconds. */
    start: number;
    /** Seconds of a step. */
    step: number;
    /** How many steps. */
    count: number;
  };
  /** Bytes of a row. */
  rowBytes: number;
  /** First address of each row, ascending; rows without anything are left out. */
  rows: number[];
  /** One layer for each thing that happens. */
  layers: {
    /** What happened. */
    name: string;
    /** Triples: row, column, how often. */
    cells: number[];
  }[];
}

/** A table at one moment: runs of leaves, as five numbers each. */
export interface Snapshot {
  /** When, in words. */
  label: string;
  /** Attributes of leaves (the descriptor without address, type and valid bit), hex. */
  attributes: string[];
  /** Pages from the end of the run before, leaves, level, output address in pages, index of the attributes. */
  runs: number[];
  /** Table pages. */
  pages: number;
}

/** A table from its root down to single entries, at several moments. */
export interface TreeSection extends Titled {
  /** Tells the kinds of section apart. */
  kind: "tree";
  /** How its descriptors are read. */
  format: {
    /** A guest's stage 2, or EL2's own stage 1. */
    stage: "2" | "hyp";
    /** Page size in bytes. */
    granule: Granule;
    /** 52-bit descriptors of 4K and 16K pages. */
    lpa2: boolean;
    /** Stage 2 with forced write-back. */
    fwb: boolean;
    /** EL2 with separate execute rights of EL2 and EL0. */
    hvhe: boolean;
    /** Level of the start tables. */
    startLevel: number;
    /** Bits of an input address. */
    inputBits: number;
  };
  /** Oldest first. */
  snapshots: Snapshot[];
}

/** What several actors did, step by step. */
export interface StepsSection extends Titled {
  /** Tells the kinds of section apart. */
  kind: "steps";
  /** The actors, a column each. */
  lanes: string[];
  /** In order. */
  steps: {
    /** Index of the actor. */
    lane: number;
    /** What it did. */
    text: string;
    /** More, in smaller letters. */
    detail?: string;
    /** This is where it went wrong. */
    bad?: boolean;
  }[];
}

/** A part of a report. */
export type Section = TableSection | ChartSection | HeatmapSection | TreeSection | StepsSection;

/** A report, from its title to its last picture. */
export interface Story {
  /** Of this form. */
  schemaVersion: 1;
  /** What it is about: the name of a trace, a workload. */
  title: string;
  /** What happened, in sentences. */
  summary: string[];
  /** Names and values that a reader looks up. */
  facts: [name: string, value: string][];
  /** The pictures and tables. */
  sections: Section[];
}
