// The one place that knows how views are drawn: Preact with htm, so that no build step is needed.
import { Fragment, createContext, h, render } from "../vendor/preact.js";
import {
  useCallback, useContext, useEffect, useErrorBoundary, useLayoutEffect, useMemo, useReducer, useRef, useState,
} from "../vendor/preact-hooks.js";
import htm from "../vendor/htm.js";

export const html = htm.bind(h);
export {
  Fragment, createContext, h, render,
  useCallback, useContext, useEffect, useErrorBoundary, useLayoutEffect, useMemo, useReducer, useRef, useState,
};
