"""What the fast scans of backends share: how a traced cell's values are laid out, and cotangents with copies."""

from rnnbp.fastpath.blanking import blanked as blanked
from rnnbp.fastpath.copies import copied as copied
from rnnbp.fastpath.copies import linear as linear
from rnnbp.fastpath.layout import Layout as Layout
from rnnbp.fastpath.layout import in_order as in_order
from rnnbp.fastpath.layout import layout as layout
