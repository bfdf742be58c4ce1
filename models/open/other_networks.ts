/** The networks beside the U-Net, which most models are: a module of its own. */
import "../colab/context_network.ts";
import "../conresnet/conresnet.ts";
import "../mednext/mednext.ts";
import "../segresnet/segresnet.ts";
import "../swin_unetr/swin_unetr.ts";
